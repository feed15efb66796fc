import Glibc
import PageStore
import PageStoreModel
import TestSupport
import VMTypes

/// What a seed of the lab stands for.
struct LabRun {
    static let steps = 24
    let seed: UInt64

    var mix: CrashSteps.Mix { CrashSteps.Mix.allCases[Int(seed % UInt64(CrashSteps.Mix.allCases.count))] }
    var script: [Step] { CrashSteps.make(count: Self.steps, seed: seed, mix) }

    /// What an acknowledgement says: the last version that there is, and the last that a power cut may not take.
    struct Acknowledgement {
        static let byteCount = 16
        var version: Version
        var durable: Version
    }
}

/// Performs the steps of a seed, acknowledging each on standard output.
enum LabWork {
    static func run(folder: String, seed: UInt64) -> Never {
        alarm(120)
        do {
            let store = try PageStore.open(folder)
            store.checkpointPolicy = .eager
            var model = Model(of: store)
            let scratch = Scratch()
            var durable = store.lastVersion
            for step in LabRun(seed: seed).script {
                var planner = Planner(step)
                if let plan = planner.plan(step.kind, &model) {
                    model.apply(plan, as: try scratch.commit(plan, to: store))
                    if plan.durability == .synced { durable = model.last }
                } else {
                    switch step.kind {
                    case .settle:
                        try store.settle()
                        try store.checkpointWhereWorthwhile()
                        durable = model.last
                    case .reclaim: try store.reclaim()
                    case .flush:
                        try store.flush()
                        durable = model.last
                    case .optimize: if let id = planner.pick(model.state.keys.sorted()) { _ = try store.optimize(id) }
                    default: break
                    }
                }
                let words = [model.last.rawValue, durable.rawValue]
                guard words.withUnsafeBytes({ write(1, $0.baseAddress!, $0.count) }) == LabRun.Acknowledgement.byteCount else { exit(65) }
            }
            try store.close()
            exit(0)
        } catch {
            let text = Array("\(error)\n".utf8)
            _ = write(2, text, text.count)
            exit(66)
        }
    }
}

/// Says of folders, a line each, whether the store there holds what was acknowledged.
enum LabCheck {
    static func serve() -> Never {
        let checker = Checker()
        while let line = readLine() {
            alarm(60)
            let words = line.split(separator: " ")
            guard words.count == 3, let seed = UInt64(words[1]) else { exit(64) }
            var answer = "ok"
            do { try check(String(words[0]), LabRun(seed: seed), acknowledgements(words[2]), checker) } catch {
                answer = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
            }
            print(answer)
            fflush(nil)
        }
        exit(0)
    }

    private static func acknowledgements(_ text: Substring) -> [LabRun.Acknowledgement] {
        guard text != "-" else { return [] }
        let digits = Array(text.utf8)
        func digit(_ byte: UInt8) -> UInt64 { UInt64(byte < 58 ? byte - 48 : byte - 87) }
        func word(_ byte: Int) -> UInt64 {
            (0..<8).reduce(0) { $0 | (digit(digits[2 * (byte + $1)]) << 4 | digit(digits[2 * (byte + $1) + 1])) << UInt64(8 * $1) }
        }
        return stride(from: 0, to: digits.count / 2, by: LabRun.Acknowledgement.byteCount).map {
            LabRun.Acknowledgement(version: Version(word($0)), durable: Version(word($0 + 8)))
        }
    }

    private static func check(
        _ folder: String, _ run: LabRun, _ acknowledged: [LabRun.Acknowledgement], _ checker: Checker
    ) throws {
        let store = try PageStore.open(folder)
        defer { store.abandon() }
        let found = store.lastVersion
        let model = try expected(run, acknowledged, found, retention: Int(store.retention.versions))
        try checker.check(store, model)
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        guard findings.isEmpty else { throw Mismatch("verify: \(findings)") }
        // The store takes and keeps a new commit, and moves what it holds.
        let version = try store.commit([], operations: [.mapChanges([1])])
        guard version > found else { throw Mismatch("version \(version) after \(found)") }
        try store.settle()
        _ = try store.reclaim()
        try checker.check(store, model)
    }

    /// The model at the version that was recovered, which must be one that may be.
    private static func expected(
        _ run: LabRun, _ acknowledged: [LabRun.Acknowledgement], _ found: Version, retention: Int
    ) throws -> Model {
        let durable = acknowledged.last?.durable ?? Version(1)
        guard found >= durable else { throw Mismatch("version \(found) is the last, and \(durable) was durable") }
        var model = Model()
        model.last = Version(1)
        model.retention = retention
        let script = run.script
        for (step, acknowledgement) in zip(script, acknowledged) {
            var next = model
            var planner = Planner(step)
            guard let plan = planner.plan(step.kind, &next) else { continue }
            guard acknowledgement.version <= found else {
                guard model.last == found else { throw Mismatch("version \(found) lies within a commit") }
                return model
            }
            next.apply(plan, as: acknowledgement.version)
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
