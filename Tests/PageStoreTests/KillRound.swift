import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import TestSupport
import VMTypes

/// One child that works on a store and is killed, at times a second one that is killed while it recovers the store, and the
/// comparison of what they leave with the model.
struct KillRound: CustomStringConvertible {
    private static let steps = 40

    private let seed: UInt64
    private let mix: CrashSteps.Mix
    /// The versions that the store keeps.
    private let retention: Int
    private let inMemory: Bool
    private let goesOn: Bool
    /// What kills the first child; nil: a kill `delay` microseconds after `limit` acknowledgements.
    private var failpoint: String?
    private var limit = -1
    private var delay: UInt32 = 0
    /// What kills the second child, where there is one.
    private var recoveryFailpoint: String?

    /// The round that follows from `seed`, and from `behind`: every third one is killed at one of these failpoints.
    init(_ index: Int, seed: UInt64, behind: [String]) {
        var generator = SeededGenerator(seed: seed)
        self.seed = generator.next()
        goesOn = index % 5 == 0
        inMemory = index % 8 != 7
        var retention = Bool.random(using: &generator) ? 1 : 8
        var mix = [CrashSteps.Mix.everyday, .merging, .rollingBack].randomElement(using: &generator)!
        let place = behind.randomElement(using: &generator)!
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
        switch index % 3 {
        case 0:
            limit = number(1...Self.steps - 1)
            delay = UInt32(number(0...1500))
        case 1: failpoint = "*:\(number(1...250))"
        default:
            let name = place.split(separator: ".")
            switch (name[0], name[1]) {
            case ("recovery", let step):
                recoveryFailpoint = "\(place):1"
                if step == "orphans" {
                    mix = .staging
                    failpoint = "stage.committed:\(number(1...6))"
                } else {
                    failpoint = "journal.written:\(number(1...20))"
                }
            case ("close", _): failpoint = "\(place):1"
            case ("stage", _):
                mix = .staging
                failpoint = "\(place):\(number(1...6))"
            case ("merge", _), ("reclaim", _):
                mix = name[1] == "dropped" ? .rollingBack : .merging
                retention = 1
                failpoint = "\(place):\(number(1...2))"
            default: failpoint = "\(place):\(number(1...8))"
            }
        }
        self.mix = mix
        self.retention = retention
    }

    var description: String {
        "seed \(seed), \(mix), first child \(failpoint ?? "killed at random after \(limit) steps and \(delay) µs"), "
            + "second child \(recoveryFailpoint ?? "none"), retention \(retention)"
    }

    /// Empty stores that rounds begin with copies of.
    final class Stores: Sendable {
        let memory = TemporaryFolder("kill", inMemory: true)
        let disk = TemporaryFolder("kill")
        /// What each holds, by its retention.
        let models: [Int: Model]

        init() throws {
            var models: [Int: Model] = [:]
            for retention in [1, 8] {
                let folder = "\(memory.path)/keeps\(retention)"
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
                _ = try PageStore.create(in: folder, options: .init(ringBytes: 256 << 10))
                let store = try PageStore.open(folder)
                _ = try store.commit([], operations: [.setRetention(Retention(versions: UInt32(retention), seconds: 0))])
                models[retention] = Model(of: store)
                try store.close()
            }
            self.models = models
        }
    }

    /// Answers where children were killed; throws where the store is not as it must be.
    func run(_ stores: Stores, _ checker: Checker) throws -> [String] {
        let folder = "\((inMemory ? stores.memory : stores.disk).path)/\(seed)"
        try FileManager.default.copyItem(atPath: "\(stores.memory.path)/keeps\(retention)", toPath: folder)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var kills: [String] = []
        func note(_ child: CrashChild, _ failpoint: String?) throws {
            if child.wasKilled {
                kills.append(failpoint.map { String($0.split(separator: ":")[0]) } ?? "random")
            } else if child.status != 0 {
                throw Mismatch("the child ended with status \(child.status)")
            }
        }
        let child = try CrashChild(
            folder, seed: seed, steps: Self.steps, mix, failpoint: failpoint, limit: limit, delay: delay)
        try note(child, failpoint)
        if let recoveryFailpoint {
            let second = try CrashChild(folder, seed: seed, steps: 0, mix, failpoint: recoveryFailpoint, limit: -1, delay: 0)
            try note(second, recoveryFailpoint)
        }
        try check(folder, child.versions, stores.models[retention]!, checker)
        return kills
    }

    /// The model after the acknowledged steps, and, where one was in flight, after that one too.
    private func models(_ start: Model, _ versions: [Version], last: Version) -> (acknowledged: Model, inFlight: Model?) {
        var model = start
        let steps = CrashSteps.make(count: Self.steps, seed: seed, mix)
        for (step, version) in zip(steps, versions) {
            var planner = Planner(step)
            if let plan = planner.plan(step.kind, &model) { model.apply(plan, as: version) }
        }
        guard versions.count < steps.count else { return (model, nil) }
        var next = model
        let step = steps[versions.count]
        var planner = Planner(step)
        guard let plan = planner.plan(step.kind, &next) else { return (model, nil) }
        next.apply(plan, as: last > model.last ? last : model.last)
        return (model, next)
    }

    private func check(_ folder: String, _ versions: [Version], _ start: Model, _ checker: Checker) throws {
        let store = try PageStore.open(folder)
        defer { store.abandon() }
        let (acknowledged, inFlight) = models(start, versions, last: store.lastVersion)
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
}

/// A process that worked on a store and ended.
struct CrashChild {
    /// What it acknowledged.
    private(set) var versions: [Version] = []
    private(set) var status: Int32 = 0
    var wasKilled: Bool { status & 0x7f == SIGKILL }

    private static let program: String = {
        let folder = Bundle.main.executableURL?.deletingLastPathComponent().path ?? "."
        let beside = folder + "/varve-crash-child"
        return access(beside, X_OK) == 0 ? beside : FileManager.default.currentDirectoryPath + "/.build/debug/varve-crash-child"
    }()

    private static func cStrings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        var pointers: [UnsafeMutablePointer<CChar>?] = []
        for text in texts { pointers.append(strdup(text)) }
        return pointers + [nil]
    }

    /// Starts a child, reads its acknowledgements to its end, and kills it `delay` microseconds after `limit` of them.
    init(
        _ folder: String, seed: UInt64, steps: Int, _ mix: CrashSteps.Mix, failpoint: String?, limit: Int, delay: UInt32
    ) throws {
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
        #if VARVE_MUTANTS
            if let mutant = ProcessInfo.processInfo.environment["VARVE_MUTANT"] { environment.append("VARVE_MUTANT=\(mutant)") }
        #endif
        let arguments = Self.cStrings([Self.program, folder, "\(seed)", "\(steps)", mix.rawValue, "9"])
        let variables = Self.cStrings(environment)
        defer { for text in arguments + variables { free(text) } }
        var process = pid_t()
        let code = posix_spawn(&process, Self.program, &actions, nil, arguments, variables)
        Glibc.close(pipes[1])
        guard code == 0 else { throw Mismatch("the child does not start: \(code) \(Self.program)") }
        var version: UInt64 = 0
        while true {
            if versions.count == limit {
                usleep(delay)
                kill(process, SIGKILL)
            }
            let n = read(pipes[0], &version, 8)
            if n != 8 { break }
            versions.append(Version(version))
        }
        Glibc.close(pipes[0])
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    }
}
