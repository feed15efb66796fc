import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import TestSupport
import Testing
import VMTypes

/// Every system call of a short run fails once, then from there on for ever: success or a typed error, and, once the
/// fault is gone, all that was acknowledged.
///
/// In a process of its own, since the fault hits every store of a process.
@Suite struct FaultTests {
    @Test func everyFailedCallLosesNothing() async {
        let folder = TemporaryFolder("fault")
        await #expect(processExitsWith: .success) { [path = folder.path as String] in
            alarm(900)
            let (runs, problems) = FaultRun.sweep()
            let text = (problems + ["\(runs) runs"]).joined(separator: "\n")
            try text.write(toFile: path + "/report", atomically: false, encoding: .utf8)
            exit(problems.isEmpty ? 0 : 1)
        }
        let report = (try? String(contentsOfFile: folder.path + "/report", encoding: .utf8)) ?? "no report"
        print("faults: \(report)")
    }
}

/// One short run with a fault in it.
enum FaultRun {
    static func sweep() -> (runs: Int, problems: [String]) {
        var problems: [String] = []
        let parent = TemporaryFolder("fault")
        let stride = Budget.of(quick: 23, default: 2, full: 1)
        var runs = 0
        for (code, forever) in [(EIO, false), (ENOSPC, true), (EIO, true), (ENOSPC, false)] {
            var n = 1 + runs % stride
            while problems.count < 5 {
                runs += 1
                do {
                    if try run(parent.path + "/\(runs)", call: n, code, forever) { break }
                } catch { problems.append("call \(n), error \(code), for ever \(forever): \(error)") }
                n += stride
            }
        }
        return (runs, problems)
    }

    private static let steps = CrashSteps.make(count: 24, seed: 5) + [
        Step(.settle, 1), Step(.write, 2), Step(.reclaim, 3), Step(.writeLarge, 4), Step(.settle, 5), Step(.snapshot, 6),
    ]

    /// True where the run made fewer calls than `call`.
    private static func run(_ folder: String, call: Int, _ code: Int32, _ forever: Bool) throws -> Bool {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        _ = try PageStore.create(in: folder, options: .init(ringBytes: 256 << 10))
        let checker = Checker()
        var model = Model()
        var doubtful: CommitPlan?
        var isPast = false
        Failpoint.fail(call: call, with: code, forever: forever)
        defer { Failpoint.fail(call: 0, with: 0) }
        var opened: PageStore?
        do throws(StoreError) { opened = try PageStore.open(folder) } catch { try expected(error) }
        if let store = opened {
            doubtful = try work(store, &model, checker)
            isPast = Failpoint.callsMade < call
            Failpoint.fail(call: 0, with: 0)
            // What is open still shows what was acknowledged, or, after a failed flush, waits for its reopening.
            let awaitsReopening = store.state.withLock { $0.failure != nil }
            if doubtful == nil, !awaitsReopening {
                // LMDB that could not be reopened while the fault lasted says so until the store is.
                do { try checker.check(store, model) } catch let error as StoreError where error.code == .poisoned {}
            }
            store.abandon()
        }
        Failpoint.fail(call: call % 40 + 1, with: code, forever: forever)
        do throws(StoreError) { try PageStore.open(folder).abandon() } catch { try expected(error) }
        Failpoint.fail(call: 0, with: 0)
        let store = try PageStore.open(folder)
        defer { store.abandon() }
        if let doubtful, store.lastVersion > model.last { model.apply(doubtful, as: store.lastVersion) }
        do { try checker.check(store, model) } catch { throw Mismatch("after reopening: \(error)") }
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        guard findings.isEmpty else { throw Mismatch("verify: \(findings)") }
        _ = try store.commit([], operations: [.mapChanges([1])])
        try store.settle()
        _ = try store.reclaim()
        try checker.check(store, model)
        return isPast
    }

    /// Answers the commit whose outcome is unknown, where there is one: nothing more is done then.
    private static func work(_ store: PageStore, _ model: inout Model, _ checker: Checker) throws -> CommitPlan? {
        let scratch = Scratch()
        for step in steps {
            var planner = Planner(step)
            var before = model
            if let plan = planner.plan(step.kind, &before) {
                do throws(StoreError) {
                    let version = try scratch.commit(plan, to: store)
                    (model.nextID, model.nextName, model.nextSeed) = (before.nextID, before.nextName, before.nextSeed)
                    model.apply(plan, as: version)
                } catch {
                    try expected(error)
                    if error.code == .unknownOutcome { return plan }
                    if store.lastVersion != model.last { throw Mismatch("version \(store.lastVersion) after \(error), not \(model.last)") }
                }
                continue
            }
            do throws(StoreError) {
                switch step.kind {
                case .settle: try store.settle()
                case .reclaim: try store.reclaim()
                case .flush: try store.flush()
                case .optimize: if let id = planner.pick(model.state.keys.sorted()) { _ = try store.optimize(id) }
                default: break
                }
            } catch { try expected(error) }
        }
        do throws(StoreError) { try store.settle() } catch { try expected(error) }
        return nil
    }

    private static func expected(_ error: StoreError) throws {
        switch error.code {
        case .io, .full, .unknownOutcome, .poisoned, .notFound: break
        default: throw Mismatch("an unexpected error: \(error.code) \(error)")
        }
    }
}
