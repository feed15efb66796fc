import Foundation
import TestSupport
import Testing
import Varve

/// Random sequences of all calls, beside a model of plain arrays; one that fails is shrunk, and its seed printed.
///
/// `VARVE_MODEL_CALLS` asks for that many calls, for a night; `VARVE_MODEL_SEED` runs the sequence of a seed.
@Suite struct VMModelTests {
    let folder = TemporaryFolder()
    private static let windows = StoreFixture.modelWindowBase

    /// Runs the steps on a new store; nil where nothing differs.
    private func failure(_ steps: [UInt64], _ options: Store.OpenOptions, calls: inout Int) -> (index: Int, error: any Error, log: [String])? {
        let path = folder.path + "/\(UUID().uuidString)"
        let run = VMModelRun(firstWindow: Self.windows, options: options)
        var index = 0
        defer {
            calls += run.calls
            try? run.store?.close()
            try? FileManager.default.removeItem(atPath: path)
        }
        do {
            try Store.create(path, options: .init(ringBytes: 1 << 20, windowBase: Self.windows))
            try run.open(path)
            for step in steps {
                try run.step(step, path: path)
                index += 1
            }
            try run.check()
            try run.close()
            try run.open(path)
            for name in run.model.working.tasks.keys.sorted() { try run.attach(name) }
            try run.check()
            try run.checkCommitted()
            var problems: [String] = []
            let findings = try run.store!.verify { problems.append("\($0)") }.findings
            if findings > 0 { throw Mismatch("verify: \(problems)") }
            try run.close()
            return nil
        } catch { return (index, error, run.log) }
    }

    /// The fewest steps that still fail, as far as leaving out stretches finds them.
    private func shrunk(_ steps: [UInt64], _ options: Store.OpenOptions) -> [UInt64] {
        var steps = steps
        var calls = 0
        var stretch = steps.count / 2
        var tries = 300
        while stretch > 0, tries > 0 {
            var start = 0
            while start < steps.count, tries > 0 {
                tries -= 1
                let fewer = Array(steps[..<start] + steps[min(steps.count, start + stretch)...])
                if let failed = failure(fewer, options, calls: &calls) {
                    steps = Array(fewer.prefix(failed.index + 1))
                } else {
                    start += stretch
                }
            }
            stretch /= 2
        }
        return steps
    }

    private func run(seed: UInt64, steps count: Int, _ options: Store.OpenOptions, calls: inout Int) {
        var random = SeededGenerator(seed: seed)
        let steps = (0..<count).map { _ in random.next() }
        guard let failed = failure(steps, options, calls: &calls) else { return }
        let fewer = shrunk(Array(steps.prefix(failed.index + 1)), options)
        let least = failure(fewer, options, calls: &calls) ?? failed
        Issue.record(
            """
            VARVE_MODEL_SEED=\(seed) with \(options) differs at step \(failed.index): \(failed.error)
            shrunk to \(fewer.count) steps: \(least.error)
            \(least.log.joined(separator: "\n"))
            """)
    }

    @Test(arguments: everyMode)
    func randomCallsDoWhatTheRulesSay(_ options: Store.OpenOptions) {
        let environment = ProcessInfo.processInfo.environment
        var calls = 0
        if let seed = environment["VARVE_MODEL_SEED"].flatMap({ UInt64($0) }) {
            return run(seed: seed, steps: 2000, options, calls: &calls)
        }
        let wanted = environment["VARVE_MODEL_CALLS"].flatMap { Int($0) }.map { $0 / everyMode.count }
            ?? Budget.of(quick: 600, default: 2000, full: 7000)
        while calls < wanted {
            let seed = UInt64.random(in: 0...UInt64.max)
            if environment["VARVE_MODEL_CALLS"] != nil { FileHandle.standardError.write(Data("VARVE_MODEL_SEED=\(seed)\n".utf8)) }
            run(seed: seed, steps: Int.random(in: 50...600), options, calls: &calls)
        }
    }

    /// Processes that are killed after random calls, one after the other on one store: what was committed is there, whole.
    @Test func killedProcessesLeaveTheLastCommit() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let path = folder.path + "/killed"
        try Store.create(path, options: .init(ringBytes: 1 << 20, windowBase: Self.windows))
        var ends: [Int] = []
        for _ in 0..<Budget.of(quick: 3, default: 6, full: 20) {
            let done = ends.last ?? 0
            let count = Int.random(in: 10...120), earlier = ends
            await #expect(processExitsWith: .signal(SIGKILL), "seed \(seed), killed at \(ends + [done + count])") {
                [path = path as String, seed = seed as UInt64, earlier = earlier as [Int], count = count as Int] in
                quietEnd()
                let run = try replayed(seed, earlier)
                try run.open(path)
                for index in (earlier.last ?? 0)..<(earlier.last ?? 0) + count { try run.step(stepNumber(seed, index), path: path) }
                kill(getpid(), SIGKILL)
            }
            ends.append(done + count)
            let run = try replayed(seed, ends)
            do {
                try run.open(path)
                for name in run.model.working.tasks.keys.sorted() { try run.attach(name) }
                try run.check()
                try run.checkCommitted()
                try run.close()
            } catch {
                Issue.record("seed \(seed), killed at \(ends): \(error)")
                try? run.store?.close()
                return
            }
        }
    }
}

private func stepNumber(_ seed: UInt64, _ index: Int) -> UInt64 {
    var random = SeededGenerator(seed: seed &+ UInt64(index))
    return random.next()
}

/// The model after steps that ended, `ends[0]`, `ends[1]`, … steps after the first, with a kill.
private func replayed(_ seed: UInt64, _ ends: [Int]) throws -> VMModelRun {
    let run = VMModelRun(firstWindow: StoreFixture.modelWindowBase, options: .init())
    var index = 0
    for end in ends {
        while index < end {
            try run.step(stepNumber(seed, index), path: "")
            index += 1
        }
        run.forget()
    }
    return run
}
