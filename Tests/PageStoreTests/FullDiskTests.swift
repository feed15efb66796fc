import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import TestSupport
import Testing
import VMTypes

/// A real file system that fills up: everything stays readable, deleting works, and commits go on once there is room.
@Suite(.enabled(if: SmallDisk.isPossible, "no small disk: \(SmallDisk.reasonAgainst ?? "")"))
struct FullDiskTests {
    @Test func aFullDiskLosesNothing() throws {
        let disk = try SmallDisk(mebibytes: 16)
        let rounds = Budget.of(quick: 2, default: 6, full: 20)
        for round in 0..<rounds { try fill(disk.path, round) }
    }

    /// Fills the disk to a few KiB more or less free in each round, so that another step meets its end.
    private func fill(_ disk: String, _ round: Int) throws {
        let folder = disk + "/store"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        _ = try PageStore.create(in: folder, options: .init(ringBytes: 256 << 10))
        var store = try PageStore.open(folder)
        let checker = Checker()
        let scratch = Scratch()
        var model = Model()
        let ballast = disk + "/ballast"
        var refused = 0
        let steps = [Step(.create, 1), Step(.create, 2)] + CrashSteps.make(count: 60, seed: UInt64(round) + 77)
        for (index, step) in steps.enumerated() {
            if index == 20 {
                let room = freeBytes(near: folder) - round * 70_000 - 20_000
                try Data(count: max(room, 0)).write(to: URL(fileURLWithPath: ballast))
            }
            var planner = Planner(step)
            var before = model
            do throws(StoreError) {
                if let plan = planner.plan(step.kind, &before) {
                    let version = try scratch.commit(plan, to: store)
                    (model.nextID, model.nextName, model.nextSeed) = (before.nextID, before.nextName, before.nextSeed)
                    model.apply(plan, as: version)
                } else if step.kind == .settle {
                    try store.settle()
                } else if step.kind == .reclaim {
                    try store.reclaim()
                }
            } catch {
                #expect(error.code == .full || error.code == .notFound, "\(step): \(error)")
                refused += 1
            }
            if index % 10 == 9 { try checker.check(store, model) }
        }
        // A crash on a full disk: the store opens.
        store.abandon()
        store = try PageStore.open(folder)
        try checker.check(store, model)
        // Deleting needs no room but the journal's; only where that is full too does it wait.
        let id = model.state.keys.sorted()[0]
        let version: Version
        do throws(StoreError) { version = try store.commit([], operations: [.deleteObject(id: id)]) } catch {
            #expect(error.code == .full, "\(error)")
            unlink(ballast)
            version = try store.commit([], operations: [.deleteObject(id: id)])
        }
        var plan = CommitPlan(state: model.state)
        plan.state[id] = nil
        model.apply(plan, as: version)
        do throws(StoreError) { _ = try store.reclaim() } catch { #expect(error.code == .full, "\(error)") }
        try checker.check(store, model)
        // With room again, everything goes on.
        unlink(ballast)
        try store.settle()
        _ = try store.reclaim()
        try checker.check(store, model)
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        #expect(findings.isEmpty, "\(findings)")
        try store.close()
        print("full disk: round \(round), \(refused) steps refused")
    }
}
