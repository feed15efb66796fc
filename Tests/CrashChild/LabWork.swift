import Glibc
import PageStore
import PageStoreModel
import TestSupport
import VMTypes

/// The page store as an adapter of the crash lab: commits of every kind with a small ring, settling, merging, checkpoints.
///
/// A line of work is `LAST DURABLE`, the last version that there is and the last that a power cut may not take; one of a
/// recovery is `recovered LAST`; the commits of map changes that come after it say `more LAST DURABLE`.
struct LabRun {
    static let steps = 24
    let seed: UInt64

    var mix: CrashSteps.Mix { CrashSteps.Mix.allCases[Int(seed % UInt64(CrashSteps.Mix.allCases.count))] }
    var script: [Step] { CrashSteps.make(count: Self.steps, seed: seed, mix) }

    /// The versions of which the store keeps the newest, and the version that says so.
    static let retention = 4
    static let first = Version(1)

    static func store(in folder: String) -> String { folder + "/store" }

    static func say(_ line: String) {
        let text = Array((line + "\n").utf8)
        if write(1, text, text.count) != text.count { exit(65) }
    }

    /// Ends the process where `body` throws.
    static func end(_ body: () throws -> Void) -> Never {
        do {
            try body()
            exit(0)
        } catch {
            let text = Array("\(error)\n".utf8)
            _ = write(2, text, text.count)
            exit(66)
        }
    }
}

enum LabWork {
    /// Performs the steps of a seed on a store that it makes in `folder`.
    static func run(folder: String, seed: UInt64) -> Never {
        alarm(120)
        LabRun.end {
            let store = try make(in: folder)
            store.checkpointPolicy = .eager
            store.mergePolicy = .eager
            var model = Model(of: store)
            let scratch = Scratch()
            var durable = store.lastVersion
            for step in LabRun(seed: seed).script {
                if try store.perform(step, &model, scratch) { durable = model.last }
                LabRun.say("\(model.last) \(durable)")
            }
            try store.close()
        }
    }

    /// Making the folder whole under another name is the store's affair, above the page store.
    private static func make(in folder: String) throws -> PageStore {
        let making = folder + "/making"
        guard mkdir(making, 0o700) == 0 else { throw Mismatch("no folder: \(errno)") }
        _ = try PageStore.create(in: making, options: .init(ringBytes: 256 << 10))
        let store = try PageStore.open(making)
        _ = try store.commit([], operations: [.setRetention(Retention(versions: UInt32(LabRun.retention), seconds: 0))])
        try store.close()
        let parent = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard rename(making, LabRun.store(in: folder)) == 0, fsync(parent) == 0 else { throw Mismatch("no rename: \(errno)") }
        return try PageStore.open(LabRun.store(in: folder))
    }

    static func recover(folder: String) -> Never {
        alarm(60)
        LabRun.end {
            guard access(LabRun.store(in: folder), F_OK) == 0 else { return }
            let store = try PageStore.open(LabRun.store(in: folder))
            let first = store.lastVersion
            var durable = first
            LabRun.say("recovered \(first)")
            for number in 1...4 {
                let isDeferred = number % 2 == 0
                let bytes = [UInt8](repeating: UInt8(number), count: 3000 * number)
                let last = try store.commit([], operations: [.mapChanges(bytes)], durability: isDeferred ? .deferred : .synced)
                if !isDeferred { durable = last }
                LabRun.say("more \(last) \(durable)")
            }
            if first.rawValue % 2 == 0 { try store.close() }
        }
    }
}

/// Says of folders whether the store there holds what was acknowledged.
enum LabCheck {
    static func serve() -> Never {
        let checker = Checker()
        var requests = 0
        while let line = readLine() {
            alarm(60)
            let words = line.split(separator: " ")
            guard words.count == 3, let seed = UInt64(words[1]), let count = Int(words[2]) else { exit(64) }
            let acknowledged = (0..<count).compactMap { _ in readLine() }
            do {
                try check(String(words[0]), LabRun(seed: seed), acknowledged, checker, goesOn: requests % 8 == 0)
                LabRun.say("ok")
            } catch { LabRun.say("\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")) }
            requests += 1
        }
        exit(0)
    }

    private static func check(_ folder: String, _ run: LabRun, _ lines: [String], _ checker: Checker, goesOn: Bool) throws {
        let path = LabRun.store(in: folder)
        if lines.isEmpty, access(path, F_OK) != 0 { return }
        let store = try PageStore.open(path)
        defer { store.abandon() }
        let found = store.lastVersion
        let model = try expected(run, lines, found)
        try checker.check(store, model)
        try verify(store)
        // One image in so many, and a process' first: the store takes and keeps a new commit, and moves what it holds.
        guard goesOn else { return }
        let version = try store.commit([], operations: [.mapChanges([1])])
        // Also above those that were told and that the cut took.
        let told = lines.compactMap { $0.split(separator: " ").lazy.compactMap { UInt64($0) }.first }.max() ?? 0
        guard version > max(found, Version(told)) else { throw Mismatch("version \(version) after \(found), and \(told) was told") }
        try store.settle()
        _ = try store.reclaim()
        try checker.check(store, model)
        try verify(store)
    }

    private static func verify(_ store: PageStore) throws {
        var findings: [Finding] = []
        _ = try store.verify { findings.append($0) }
        guard findings.isEmpty else { throw Mismatch("verify: \(findings)") }
    }

    /// The model at the version that was recovered, which must be one that may be.
    private static func expected(_ run: LabRun, _ lines: [String], _ found: Version) throws -> Model {
        var acknowledged: [Version] = []
        var durable = LabRun.first
        var found = found
        let last = found
        for line in lines {
            let words = line.split(separator: " ")
            let numbers = words.compactMap { UInt64($0) }.map { Version($0) }
            guard let number = numbers.last else { exit(64) }
            durable = max(durable, number)
            // What came after a recovery changed maps only.
            if words[0] == "recovered" { found = number } else if words[0] != "more" { acknowledged.append(numbers[0]) }
        }
        guard last >= durable else { throw Mismatch("version \(last) is the last, and \(durable) was durable") }
        var model = Model()
        model.last = LabRun.first
        model.retention = LabRun.retention
        let script = run.script
        for (step, acknowledgement) in zip(script, acknowledged) {
            var next = model
            var planner = Planner(step)
            guard let plan = planner.plan(step.kind, &next) else { continue }
            guard acknowledgement <= found else {
                guard model.last == found else { throw Mismatch("version \(found) lies within a commit") }
                return model
            }
            next.apply(plan, as: acknowledgement)
            model = next
        }
        if found > model.last {
            guard acknowledged.count < script.count else { throw Mismatch("version \(found) was never made") }
            let step = script[acknowledged.count]
            var planner = Planner(step)
            guard let plan = planner.plan(step.kind, &model) else { throw Mismatch("version \(found) was never made") }
            model.apply(plan, as: found)
        }
        return model
    }
}
