import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import TestSupport
import Testing
import VMTypes

/// Damaged files: the right bytes, an older intact state, or a typed error; never wrong bytes, a trap or a hang.
///
/// In a process of its own, so that a trap is one failed test that names the trial.
@Suite struct DamageTests {
    @Test func damagedFilesNeverAnswerWrongBytes() async {
        let folder = TemporaryFolder("damage")
        await #expect(processExitsWith: .success) { [path = folder.path as String] in
            alarm(900)
            let problems = try DamageRun(path).sweep()
            exit(problems.isEmpty ? 0 : 1)
        }
        let report = (try? String(contentsOfFile: folder.path + "/report", encoding: .utf8)) ?? "no report"
        let trial = (try? String(contentsOfFile: folder.path + "/trial", encoding: .utf8)) ?? "none"
        print("damage: \(report), last trial: \(trial)")
    }
}

/// A store with settled and young data and snapshots, damaged again and again.
final class DamageRun {
    private let parent: String
    private let checker = Checker()
    private var model = Model()
    /// Bytes of the page store's file that the heads and snapshots are read from.
    private var live: [Int] = []
    private var counts: [String: Int] = [:]

    init(_ parent: String) throws {
        self.parent = parent
        let folder = parent + "/work"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        _ = try PageStore.create(in: folder, options: .init(ringBytes: 256 << 10))
        let store = try PageStore.open(folder)
        let scratch = Scratch()
        let steps = CrashSteps.make(count: 90, seed: 11).filter { $0.kind != .reclaim } + [
            Step(.snapshot, 1), Step(.settle, 2), Step(.reclaim, 3), Step(.settle, 4), Step(.write, 5), Step(.writeMany, 6),
            Step(.snapshot, 7), Step(.write, 8), Step(.write, 9), Step(.flush, 10), Step(.write, 12),
        ]
        for step in steps {
            var planner = Planner(step)
            if let plan = planner.plan(step.kind, &model) {
                model.apply(plan, as: try scratch.commit(plan, to: store))
            } else if step.kind == .settle {
                try store.settle()
            } else if step.kind == .reclaim {
                try store.reclaim()
            }
        }
        try store.flush()
        try checker.check(store, model)
        for kept in model.kept() {
            let view = try store.view(of: kept.object, at: kept.version)
            for (pages, extent) in view.extents(in: PageRange(start: 0, count: view.pageCount)) {
                if case .file(let offset) = extent { live += (0..<pages.count).map { offset + $0 * Page.size } }
            }
        }
        try store.abandon { try FileManager.default.copyItem(atPath: folder, toPath: parent + "/young") }
        // The same, closed.
        let closed = try PageStore.open(folder)
        try closed.close()
        try FileManager.default.moveItem(atPath: folder, toPath: parent + "/closed")
    }

    private enum Damage: CaseIterable { case flip, liveFlip, zeroPage, zeroSector, truncate, swapPages }

    func sweep() throws -> [String] {
        let trials = Budget.of(quick: 200, default: 500, full: 2000)
        let seed = ProcessInfo.processInfo.environment["VARVE_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max / 2)
        var problems: [String] = []
        for index in 0..<trials where problems.count < 6 {
            var generator = SeededGenerator(seed: seed &+ UInt64(index))
            do { try trial(&generator, "seed \(seed &+ UInt64(index))") } catch {
                problems.append("seed \(seed &+ UInt64(index)): \(error)")
            }
        }
        let text = (problems + ["\(trials) trials from seed \(seed): \(counts.sorted { $0.key < $1.key })"]).joined(separator: "\n")
        try text.write(toFile: parent + "/report", atomically: false, encoding: .utf8)
        return problems
    }

    private func trial(_ generator: inout SeededGenerator, _ name: String) throws {
        let folder = parent + "/trial-files"
        try? FileManager.default.removeItem(atPath: folder)
        let base = Bool.random(using: &generator) ? "/young" : "/closed"
        try FileManager.default.copyItem(atPath: parent + base, toPath: folder)
        var damage = Damage.allCases.randomElement(using: &generator)!
        // Live bytes were told for the young files; closing settles, which may have moved none of them.
        if damage == .liveFlip, base == "/closed" { damage = .flip }
        let file = damage == .liveFlip ? StoreFile.pages
            : [StoreFile.journal, StoreFile.pages, StoreFile.pages, StoreFile.leases].randomElement(using: &generator)!
        let what = "\(damage) in \(base)/\(file)"
        try "\(name): \(what)".write(toFile: parent + "/trial", atomically: false, encoding: .utf8)
        try apply(damage, folder + "/" + file, &generator)
        let outcome = try look(folder)
        counts[outcome, default: 0] += 1
        if damage == .liveFlip, outcome == "intact" { throw Mismatch("\(what): a flip in live bytes was not found") }
    }

    private func apply(_ damage: Damage, _ path: String, _ generator: inout SeededGenerator) throws {
        let file = try File(path, O_RDWR)
        let size = try file.size()
        let byte = AlignedBuffer(capacity: Page.size)
        switch damage {
        case .flip, .liveFlip:
            let offset = damage == .liveFlip
                ? live.randomElement(using: &generator)! + Int.random(in: 0..<Page.size, using: &generator)
                : Int.random(in: 0..<size, using: &generator)
            try file.read(into: byte[0..<1], at: offset)
            byte.base.storeBytes(of: byte.base.load(as: UInt8.self) ^ 1 << UInt8.random(in: 0..<8, using: &generator), as: UInt8.self)
            try file.write(UnsafeRawBufferPointer(byte[0..<1]), at: offset)
        case .zeroPage, .zeroSector:
            let count = damage == .zeroPage ? Page.size : 512
            memset0(byte.base, count)
            let offset = Int.random(in: 0..<size / count, using: &generator) * count
            try file.write(UnsafeRawBufferPointer(byte[0..<count]), at: offset)
        case .truncate: try file.truncate(to: Int.random(in: 0..<size, using: &generator))
        case .swapPages:
            let other = AlignedBuffer(capacity: Page.size)
            let a = Int.random(in: 0..<size / Page.size, using: &generator) * Page.size
            let b = Int.random(in: 0..<size / Page.size, using: &generator) * Page.size
            try file.read(into: byte[0..<Page.size], at: a)
            try file.read(into: other[0..<Page.size], at: b)
            try file.write(UnsafeRawBufferPointer(byte[0..<Page.size]), at: b)
            try file.write(UnsafeRawBufferPointer(other[0..<Page.size]), at: a)
        }
    }

    /// Opens, reads everything and verifies; throws where bytes are wrong or `verify` missed what reading met.
    private func look(_ folder: String) throws -> String {
        let store: PageStore
        do throws(StoreError) { store = try PageStore.open(folder) } catch { return "refused: \(error.code)" }
        defer { store.abandon() }
        var failures: [String] = []
        func read(_ what: String, _ content: ModelObject, _ view: () throws(StoreError) -> ObjectView) throws {
            do { try checker.check(try view(), content, what) } catch let error as StoreError { failures.append("\(what): \(error)") }
        }
        let isOlder = store.lastVersion < model.last
        if isOlder {
            guard let state = model.state(at: store.lastVersion) else { throw Mismatch("version \(store.lastVersion)") }
            for (id, content) in state { try read("\(id) at the older \(store.lastVersion)", content) { () throws(StoreError) in try store.head(of: id) } }
        } else {
            for (id, content) in model.state { try read("\(id)", content) { () throws(StoreError) in try store.head(of: id) } }
        }
        for kept in model.kept() where kept.version <= store.lastVersion {
            try read("\(kept.object) at \(kept.version)", kept.content) { () throws(StoreError) in
                try store.view(of: kept.object, at: kept.version)
            }
        }
        do throws(StoreError) {
            let names = Set(try store.snapshots().map(\.name))
            if !isOlder, names != Set(model.snapshots.keys) { failures.append("snapshots") }
        } catch { failures.append("snapshots: \(error)") }
        var findings = 0
        do throws(StoreError) {
            try store.verify { _ in findings += 1 }
        } catch { findings += 1 }
        if !failures.isEmpty, findings == 0 { throw Mismatch("verify found nothing: \(failures)") }
        do throws(StoreError) { try store.settle() } catch { if findings == 0 { throw Mismatch("settling met what verify did not: \(error)") } }
        do throws(StoreError) { try store.reclaim() } catch { if findings == 0 { throw Mismatch("reclaiming met what verify did not: \(error)") } }
        return failures.isEmpty ? (findings > 0 ? "found, all read" : isOlder ? "older" : "intact") : "found"
    }
}
