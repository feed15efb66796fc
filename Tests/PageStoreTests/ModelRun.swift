import Foundation
@testable import PageStore
import PageStoreModel
import TestSupport
import VMTypes

/// A store and the model beside it, through one sequence of steps.
final class ModelRun {
    private let parent = TemporaryFolder("model", inMemory: true)
    private var generation = 0
    private var folder: String
    private(set) var store: PageStore
    private var model = Model()
    private let scratch = Scratch()
    private let checker = Checker()
    private let mergePolicy: MergePolicy
    private var views: [(view: ObjectView, content: ModelObject)] = []
    private var heads: [(view: ObjectView, object: ObjectID, content: ModelObject?)] = []

    init(retention: Int) throws {
        // All that is dead is merged away, or the emptiest layers alone.
        mergePolicy = retention % 2 == 0 ? .eager : MergePolicy(most: 1.3, least: 1.2, deadShare: 0.1, settledPages: 1)
        folder = parent.path + "/0"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        _ = try PageStore.create(in: folder, options: .init(ringBytes: 256 << 10))
        store = try PageStore.open(folder)
        store.checkpointPolicy = .eager
        store.mergePolicy = mergePolicy
        model.retention = retention
        _ = model.last
        let version = try store.commit([], operations: [.setRetention(Retention(versions: UInt32(retention), seconds: 0))])
        model.apply(CommitPlan(state: [:]), as: version)
    }

    deinit { store.abandon() }

    /// The steps of a random sequence.
    static func steps(_ count: Int, seed: UInt64) -> [Step] {
        var generator = SeededGenerator(seed: seed)
        let weights: [(Step.Kind, Int)] = Step.Kind.allCases.map { kind in
            switch kind {
            case .write: (kind, 30)
            case .writeMany, .readPast, .settleOnce: (kind, 8)
            case .writeLarge: (kind, 2)
            case .reopen, .crash, .reclaim, .optimize, .importPages: (kind, 1)
            default: (kind, 3)
            }
        }
        let kinds = weights.flatMap { Array(repeating: $0.0, count: $0.1) }
        return [Step(.create, seed)] + (1..<count).map { _ in Step(kinds.randomElement(using: &generator)!, generator.next()) }
    }

    /// Runs `steps`; throws at the first difference. What a step touched is compared at once, everything now and then.
    static func run(_ steps: [Step], retention: Int) throws {
        let run = try ModelRun(retention: retention)
        for (index, step) in steps.enumerated() {
            do {
                try run.perform(step)
                if index % 100 == 99 { try run.checkAll() }
            } catch { throw Mismatch("step \(index) \(step): \(error)") }
        }
        do { try run.checkAll() } catch { throw Mismatch("at the end: \(error)") }
        try run.store.settle()
        _ = try run.store.reclaim()
        do { try run.checkAll() } catch { throw Mismatch("after the last reclaim: \(error)") }
    }

    /// What goes wrong in `steps`; nil where nothing does.
    static func problem(_ steps: [Step], _ retention: Int) -> String? {
        do {
            try run(steps, retention: retention)
            return nil
        } catch { return "\(error)" }
    }

    /// Opens the store again.
    private func open() throws {
        store = try PageStore.open(folder)
        store.checkpointPolicy = .eager
        store.mergePolicy = mergePolicy
    }

    private func checkAll() throws {
        try checker.check(store, model)
        try checkCheckpoints(store)
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        guard findings.isEmpty else { throw Mismatch("verify: \(findings)") }
        for (view, content) in views { try checker.check(view, content, "the open view of \(view.object) at \(view.version)") }
        for (view, object, last) in heads {
            // A head that was rolled back or deleted since stays as it was at some commit: nothing but damage is wrong.
            if let last, let now = model.state[object], now.hasBytes(of: last) {
                try checker.check(view, now, "the open head of \(object)")
            }
        }
    }

    private func perform(_ step: Step) throws {
        var planner = Planner(step)
        var before = model
        if let plan = planner.plan(step.kind, &before) {
            model.nextID = before.nextID
            model.nextName = before.nextName
            model.nextSeed = before.nextSeed
            let version = try scratch.commit(plan, to: store, restored: planner.number(0...1) > 0 ? try comparisons(for: plan) : [])
            let rebased = plan.operations.compactMap { if case .lineage(let o, _, _, _) = $0 { o } else { nil } }
            model.apply(plan, as: version)
            heads.removeAll { rebased.contains($0.object) || model.state[$0.object] == nil }
            for index in heads.indices { heads[index].content = model.state[heads[index].object] }
            for id in plan.changed where model.state[id] != nil {
                try checker.check(try store.head(of: id), model.state[id]!, "the head of \(id)")
            }
            return
        }
        switch step.kind {
        case .settle:
            try store.settle()
            if planner.number(0...2) > 0 { try store.checkpointWhereWorthwhile() }
            try checkCheckpoints(store)
        case .settleOnce:
            try store.settleOnce()
            if planner.number(0...2) == 0 { try store.checkpointWhereWorthwhile() }
            try checkCheckpoints(store)
        case .flush: try store.flush()
        case .reclaim:
            try store.reclaim()
            try checkCheckpoints(store)
        case .merge:
            try store.mergeWhereWorthwhile()
            try checkCheckpoints(store)
        case .optimize:
            if let id = planner.pick(model.state.keys.sorted()) { _ = try store.optimize(id) }
            try checkCheckpoints(store)
        case .openView:
            guard views.count < 4, let kept = planner.pick(model.kept()) else { return }
            views.append((try store.view(of: kept.object, at: kept.version), kept.content))
        case .openHead:
            guard heads.count < 3, let id = planner.pick(model.state.keys.sorted()) else { return }
            heads.append((try store.head(of: id), id, model.state[id]))
        case .closeView:
            if !views.isEmpty { views.remove(at: planner.number(0...views.count - 1)) }
            if !heads.isEmpty { heads.remove(at: planner.number(0...heads.count - 1)) }
        case .readViews:
            for (view, content) in views { try checker.check(view, content, "the open view of \(view.object) at \(view.version)") }
        case .readPast: try readPast(&planner)
        case .differences: try compare(&planner)
        case .reopen:
            try close()
            try open()
            guard store.recovery.wasClean else { throw Mismatch("a closed store was recovered") }
            try checker.check(store, model)
        case .crash: try crash()
        default: break
        }
    }

    /// A state that need not be kept is refused or right.
    private func readPast(_ planner: inout Planner) throws {
        guard let past = planner.pick(model.history), let id = planner.pick(past.state.keys.sorted()) else { return }
        do {
            try checker.check(try store.view(of: id, at: past.version), past.state[id]!, "\(id) at \(past.version), a past version")
        } catch let error as StoreError {
            guard error.code == .notRetained || (error.code == .notFound && model.state[id] == nil) else { throw error }
        }
    }

    /// What the plan's rollbacks differ in from the last version.
    private func comparisons(for plan: CommitPlan) throws -> [ObjectComparison] {
        var found: [ObjectComparison] = []
        for case .lineage(let object, let source, let version, _) in plan.operations
        where try object == source && store.object(object)?.isLive == true {
            found.append(try store.compare(object, version, with: store.lastVersion))
        }
        return found
    }

    private func compare(_ planner: inout Planner) throws {
        let kept = model.kept()
        guard let a = planner.pick(kept), let b = planner.pick(kept) else { return }
        if let c = planner.pick(kept.filter { $0.object == a.object }) {
            try checkComparison(store, a.object, a.version, c.version)
            try checkComparison(store, a.object, c.version, a.version)
            guard try store.size(of: a.object, at: a.version) == UInt64(a.content.size) else { throw Mismatch("the size of \(a)") }
        }
        let runs = try store.view(of: a.object, at: a.version).differences(from: try store.view(of: b.object, at: b.version))
        let count = max(a.content.pageCount, b.content.pageCount)
        let told = Set(runs.flatMap { $0.start..<$0.end })
        // Pages that differ in nothing but the zeros past `valid` have other checksums: `told` is exact by bytes.
        for page in 0..<count {
            let same = a.content.content(page) == b.content.content(page)
            if !same && !told.contains(page), a.content.content(page).seed != b.content.content(page).seed {
                throw Mismatch("page \(page) differs and is not told: \(a) \(b)")
            }
            if same && told.contains(page) { throw Mismatch("page \(page) is told and does not differ: \(a.object) \(a.version) \(b.object) \(b.version)") }
        }
    }

    private func close() throws {
        views = []
        heads = []
        try store.close()
    }

    /// Goes on with a copy of the files as they are now.
    private func crash() throws {
        views = []
        heads = []
        generation += 1
        let old = folder
        let new = parent.path + "/\(generation)"
        try store.abandon {
            try FileManager.default.copyItem(atPath: old, toPath: new)
            try FileManager.default.removeItem(atPath: old)
        }
        folder = new
        try open()
        // Recovery may be cut off and done again.
        if generation % 3 == 0 {
            store.abandon()
            try open()
        }
        try checker.check(store, model)
    }
}

/// Finds a short sequence that still fails.
func shrink(_ steps: [Step], attempts: Int = 300, fails: ([Step]) -> Bool) -> [Step] {
    var best = steps
    var left = attempts
    var chunk = max(best.count / 2, 1)
    while true {
        var start = 0
        var changed = false
        while start < best.count, left > 0 {
            var shorter = best
            shorter.removeSubrange(start..<min(start + chunk, best.count))
            left -= 1
            if !shorter.isEmpty, fails(shorter) {
                best = shorter
                changed = true
            } else {
                start += chunk
            }
        }
        if left == 0 || (chunk == 1 && !changed) { return best }
        chunk = max(chunk / 2, 1)
    }
}
