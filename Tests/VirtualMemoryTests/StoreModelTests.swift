import Foundation
import TestSupport
import Testing
import Varve

/// Random sequences of everything a store does, beside plain byte arrays; the seed of one that fails is printed.
@Suite struct StoreModelTests {
    let fixture = StoreFixture()

    @Test(arguments: everyMode)
    func randomSequencesDoWhatTheModelDoes(_ options: Store.OpenOptions) throws {
        for round in 0..<Budget.of(quick: 1, default: 2, full: 8) {
            let seed = UInt64.random(in: 0...UInt64.max)
            let path = fixture.folder.path + "/store\(round)"
            try Store.create(path, options: .init(ringBytes: 1 << 20, windowBase: StoreFixture.newWindowBase()))
            let run = StoreModelRun(seed: seed, options: options)
            try run.open(path)
            for index in 0..<Budget.of(quick: 150, default: 300, full: 500) {
                do { try run.step(index, path: path) } catch {
                    Issue.record("seed \(seed), step \(index): \(error)")
                    return
                }
            }
            do { try run.check() } catch { Issue.record("seed \(seed), at the end: \(error)") }
            try run.close()
        }
    }

    /// Processes that work on one store and are killed at random moments: what was done is there, whole.
    @Test func aKilledProcessLeavesTheStoreAtItsLastStep() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let path = fixture.path
        let acknowledged = fixture.folder.path + "/steps"
        try fixture.create()
        var done = 0
        var kills: [Int] = []
        for round in 0..<Budget.of(quick: 4, default: 10, full: 40) {
            try Data(count: 0).write(to: URL(fileURLWithPath: acknowledged))
            let microseconds = UInt32.random(in: 5_000...150_000)
            let already = kills.map(String.init).joined(separator: ",")
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = path as String, acknowledged = acknowledged as String, already = already as String, seed = seed as UInt64,
                    done = done as Int, microseconds = microseconds as UInt32] in
                quietEnd()
                let run = try replay(seed, done, already)
                let descriptor = open(acknowledged, O_WRONLY)
                try run.open(path)
                Thread.detachNewThread {
                    usleep(microseconds)
                    kill(getpid(), SIGKILL)
                }
                for index in done..<100_000 {
                    try run.step(index, path: path)
                    var count = index + 1
                    pwrite(descriptor, &count, 8, 0)
                }
            }
            let data = try Data(contentsOf: URL(fileURLWithPath: acknowledged))
            let reached = data.count == 8 ? data.withUnsafeBytes { $0.loadUnaligned(as: Int.self) } : done
            // The step in flight is there whole or not at all.
            var problems: [String] = []
            for count in [reached, reached + 1] {
                let run = try replay(seed, done, already)
                for index in done..<count { try run.step(index, path: path) }
                do {
                    try run.recover(path)
                    kills.append(count)
                    done = count
                    problems = []
                    break
                } catch { problems.append("\(count) steps: \(error)") }
            }
            if !problems.isEmpty {
                Issue.record("seed \(seed), round \(round), killed at \(kills): \(problems)")
                return
            }
        }
    }
}

/// The model after `done` steps, some of which ended with a kill.
private func replay(_ seed: UInt64, _ done: Int, _ kills: String) throws -> StoreModelRun {
    let kills = Set(kills.split(separator: ",").compactMap { Int($0) })
    let run = StoreModelRun(seed: seed, options: .init())
    for index in 0..<done {
        if kills.contains(index) { run.forgetUncommitted() }
        try run.step(index, path: "")
    }
    run.forgetUncommitted()
    return run
}

extension StoreModelRun {
    /// Opens the store after a kill, compares all of it, and closes it.
    func recover(_ path: String) throws {
        forgetUncommitted()
        try open(path)
        defer { try? close() }
        try check()
    }
}
