import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import Synchronization
import TestSupport
import Testing
import VMTypes

/// A child process works on a store and is killed; what it acknowledged must be there, and at most the step in flight.
@Suite struct KillTests {
    private static let steps = 40

    private static let child: String = {
        let folder = Bundle.main.executableURL?.deletingLastPathComponent().path ?? "."
        let beside = folder + "/varve-crash-child"
        return access(beside, X_OK) == 0 ? beside : FileManager.default.currentDirectoryPath + "/.build/debug/varve-crash-child"
    }()

    /// What a child acknowledged before it ended.
    struct Outcome {
        var versions: [Version] = []
        var status: Int32 = 0
        var wasKilled: Bool { status & 0x7f == SIGKILL }
    }

    private static func cStrings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        var pointers: [UnsafeMutablePointer<CChar>?] = []
        for text in texts { pointers.append(strdup(text)) }
        return pointers + [nil]
    }

    /// Starts a child and reads its acknowledgements; kills it after `limit` of them, and `delay` microseconds.
    private func run(_ folder: String, seed: UInt64, failpoint: String?, limit: Int, delay: UInt32, steps: Int = steps)
        throws -> Outcome
    {
        var pipes: [Int32] = [0, 0]
        guard pipe(&pipes) == 0 else { throw Mismatch("no pipe") }
        // Another child that starts meanwhile must not hold this one's pipe open.
        for end in pipes { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, pipes[1], 9)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var environment = ["SWIFT_BACKTRACE=enable=no"]
        if let failpoint { environment.append("VARVE_FAILPOINT=\(failpoint)") }
        let arguments = Self.cStrings([Self.child, folder, "\(seed)", "\(steps)", "9"])
        let variables = Self.cStrings(environment)
        defer { for text in arguments + variables { free(text) } }
        var process = pid_t()
        let code = posix_spawn(&process, Self.child, &actions, nil, arguments, variables)
        Glibc.close(pipes[1])
        guard code == 0 else { throw Mismatch("the child does not start: \(code) \(Self.child)") }
        var outcome = Outcome()
        var version: UInt64 = 0
        while true {
            if outcome.versions.count == limit {
                usleep(delay)
                kill(process, SIGKILL)
            }
            let n = read(pipes[0], &version, 8)
            if n != 8 { break }
            outcome.versions.append(Version(version))
        }
        Glibc.close(pipes[0])
        while waitpid(process, &outcome.status, 0) < 0 && errno == EINTR {}
        return outcome
    }

    /// The model after the acknowledged steps, and, where one was in flight, after that one too.
    private func models(_ seed: UInt64, _ outcome: Outcome, last: Version) -> (acknowledged: Model, inFlight: Model?) {
        var model = Model()
        let steps = CrashSteps.make(count: Self.steps, seed: seed)
        for (step, version) in zip(steps, outcome.versions) {
            var planner = Planner(step)
            if let plan = planner.plan(step.kind, &model) { model.apply(plan, as: version) }
        }
        guard outcome.versions.count < steps.count else { return (model, nil) }
        var next = model
        let step = steps[outcome.versions.count]
        var planner = Planner(step)
        guard let plan = planner.plan(step.kind, &next) else { return (model, nil) }
        next.apply(plan, as: last > model.last ? last : model.last)
        return (model, next)
    }

    private func check(_ folder: String, _ seed: UInt64, _ outcome: Outcome, goesOn: Bool, checker: Checker) throws {
        guard outcome.wasKilled || outcome.status == 0 else { throw Mismatch("the child ended with status \(outcome.status)") }
        let store = try PageStore.open(folder)
        defer { store.abandon() }
        let (acknowledged, inFlight) = models(seed, outcome, last: store.lastVersion)
        let right = store.lastVersion > acknowledged.last ? inFlight : acknowledged
        guard let right else { throw Mismatch("version \(store.lastVersion) is there, \(acknowledged.last) was the last acknowledged") }
        guard store.lastVersion >= acknowledged.last else {
            throw Mismatch("version \(store.lastVersion) is the last, \(acknowledged.last) was acknowledged")
        }
        try checker.check(store, right)
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        guard findings.isEmpty else { throw Mismatch("verify: \(findings)") }
        let version = try store.commit([], operations: [.mapChanges([1])])
        guard version > right.last else { throw Mismatch("version \(version) after \(right.last)") }
        guard goesOn else { return }
        try store.settle()
        _ = try store.reclaim()
        try checker.check(store, right)
    }

    private func round(_ index: Int, _ base: UInt64, _ empty: String, _ parent: String, _ checker: Checker, _ counts: borrowing Mutex<[String: Int]>) {
        var generator = SeededGenerator(seed: base &+ UInt64(index))
        let seed = generator.next()
        let folder = parent + "/\(index)"
        let failpoint: String?
        var limit = -1
        var delay: UInt32 = 0
        switch index % 3 {
        case 0:
            failpoint = nil
            limit = Int.random(in: 1..<Self.steps, using: &generator)
            delay = UInt32.random(in: 0...1500, using: &generator)
        case 1: failpoint = "*:\(Int.random(in: 1...400, using: &generator))"
        default:
            let name = Failpoint.names.randomElement(using: &generator)!
            failpoint = "\(name):\(Int.random(in: 1...8, using: &generator))"
        }
        do {
            try FileManager.default.copyItem(atPath: empty, toPath: folder)
            let recovers = failpoint?.hasPrefix("recovery") == true
            if recovers { limit = Int.random(in: 1..<Self.steps, using: &generator) }
            let outcome = try run(folder, seed: seed, failpoint: recovers ? nil : failpoint, limit: limit, delay: delay)
            if recovers {
                let recovery = try run(folder, seed: seed, failpoint: failpoint, limit: -1, delay: 0, steps: 0)
                if recovery.wasKilled { counts.withLock { $0["in recovery", default: 0] += 1 } }
            }
            if outcome.wasKilled {
                let how = failpoint.map { String($0.split(separator: ":")[0]) } ?? "random"
                counts.withLock { $0[how, default: 0] += 1 }
            }
            try check(folder, seed, outcome, goesOn: index % 5 == 0, checker: checker)
        } catch {
            Issue.record("round \(index) of \(base), seed \(seed), failpoint \(failpoint ?? "none"), limit \(limit): \(error)")
        }
        try? FileManager.default.removeItem(atPath: folder)
    }

    @Test func killedProcessesLeaveWhatTheyAcknowledged() throws {
        let rounds = Budget.of(quick: 110, default: 1500, full: 2950)
        let base = ProcessInfo.processInfo.environment["VARVE_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max / 2)
        print("kills: \(rounds) rounds from seed \(base)")
        let parent = TemporaryFolder("kill")
        let empty = parent.path + "/empty"
        try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: true)
        _ = try PageStore.create(in: empty, options: .init(ringBytes: 256 << 10))
        let counts = Mutex<[String: Int]>([:])
        DispatchQueue.concurrentPerform(iterations: 2) { worker in
            let checker = Checker()
            for index in stride(from: worker, to: rounds, by: 2) { round(index, base, empty, parent.path, checker, counts) }
        }
        let all = counts.withLock { $0 }
        let kills = all.values.reduce(0, +)
        print("kills: \(kills) in \(rounds) rounds: \(all.sorted { $0.key < $1.key })")
        #expect(kills >= rounds / 3)
    }
}
