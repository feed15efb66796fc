import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import TestSupport
import Testing
import VMTypes

@Suite struct RepairTests {
    let folder = TemporaryFolder()

    /// A store with settled, young and snapshotted pages, left as a crash leaves it.
    private func make(_ path: String) throws -> Model {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        _ = try PageStore.create(in: path, options: .init(ringBytes: 256 << 10))
        let store = try PageStore.open(path)
        var model = Model()
        let scratch = Scratch()
        for step in CrashSteps.make(count: 60, seed: 3) + [Step(.settle, 1), Step(.snapshot, 2), Step(.write, 3), Step(.writeMany, 4)] {
            var planner = Planner(step)
            if let plan = planner.plan(step.kind, &model) {
                model.apply(plan, as: try scratch.commit(plan, to: store))
            } else if step.kind == .settle {
                try store.settle()
            }
        }
        try store.flush()
        store.abandon()
        return model
    }

    /// Compares heads and snapshots; versions are counted anew.
    private func compare(_ store: PageStore, _ model: Model, but lost: Set<ObjectID> = []) throws {
        let checker = Checker()
        for (id, content) in model.state where !lost.contains(id) { try checker.check(try store.head(of: id), content, "\(id)") }
        #expect(Set(try store.snapshots().map(\.name)) == Set(model.snapshots.keys))
        for info in try store.snapshots() {
            let snapshot = model.snapshots[info.name]!
            for (id, content) in snapshot.state where (info.object ?? id) == id && !lost.contains(id) {
                try checker.check(try store.view(of: id, at: info.version), content, "\(id) at '\(info.name)'")
            }
        }
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        #expect(findings.isEmpty, "\(findings)")
    }

    @Test func anIntactStoreIsCopiedWhole() throws {
        let (from, to) = (folder.path + "/from", folder.path + "/to")
        let model = try make(from)
        try FileManager.default.createDirectory(atPath: to, withIntermediateDirectories: true)
        let before = try ["journal", "pages.lmdb"].map { try Data(contentsOf: URL(fileURLWithPath: from + "/" + $0)) }
        let report = try PageStore.repair(from, into: to)
        #expect(report.lost.isEmpty && report.dropped.isEmpty, "\(report)")
        let after = try ["journal", "pages.lmdb"].map { try Data(contentsOf: URL(fileURLWithPath: from + "/" + $0)) }
        #expect(before == after)
        let store = try PageStore.open(to)
        try compare(store, model)
        try store.close()
    }

    @Test func aDamagedPageIsNamedAndTheRestKept() throws {
        let (from, to) = (folder.path + "/from", folder.path + "/to")
        let model = try make(from)
        try FileManager.default.createDirectory(atPath: to, withIntermediateDirectories: true)
        var store = try PageStore.open(from)
        var target: (ObjectID, Int)?
        for id in model.state.keys.sorted() where target == nil {
            let view = try store.head(of: id)
            for (_, extent) in view.extents(in: PageRange(start: 0, count: view.pageCount)) {
                if case .file(let offset) = extent { target = (id, offset) }
            }
        }
        store.abandon()
        let (id, offset) = try #require(target)
        let byte = AlignedBuffer(capacity: Page.size)
        do {
            let file = try File(from + "/pages.lmdb", O_RDWR)
            try file.read(into: byte[0..<1], at: offset + 17)
            byte.base.storeBytes(of: byte.base.load(as: UInt8.self) ^ 4, as: UInt8.self)
            try file.write(UnsafeRawBufferPointer(byte[0..<1]), at: offset + 17)
        }
        let report = try PageStore.repair(from, into: to)
        #expect(report.lost.contains { $0.object == id }, "\(report)")
        store = try PageStore.open(to)
        try compare(store, model, but: Set(report.lost.map(\.object)))
        try store.close()
    }
}
