import Foundation
import TestSupport
import Testing
import Varve

/// Processes killed in mid-work: what the next one finds is exactly the last commit's.
@Suite struct HeapKillTests {
    @Test(.timeLimit(.minutes(10)))
    func aKilledProcessLeavesTheLastCommit() async throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed:", seed)
        let folder = TemporaryFolder(inMemory: true)
        let path = folder.path + "/heap.varve", told = folder.path + "/told"
        var generator = SeededGenerator(seed: seed)
        var model = BlockModel(slots: BlockRun.slots)
        var steps = 0
        let environment = ProcessInfo.processInfo.environment
        // Each takes a quarter of a second: `VARVE_HEAP_KILLS` asks for more than the whole run has time for.
        let rounds = environment["VARVE_HEAP_KILLS"].flatMap(Int.init)
            ?? ["quick": 5, "full": 150][environment["VARVE_TEST_BUDGET"] ?? ""] ?? 30
        for _ in 0..<rounds {
            let microseconds = UInt32.random(in: 20_000...200_000, using: &generator)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = path as String, told = told as String, seed = seed as UInt64, microseconds = microseconds as UInt32] in
                alarm(60)
                Thread.detachNewThread {
                    usleep(microseconds)
                    kill(getpid(), SIGKILL)
                }
                let file = open(told, O_WRONLY | O_CREAT, 0o600)
                let run = try BlockRun(path)
                while true {
                    for _ in 0..<run.done.value % 37 + 1 { try run.run(Self.step(run.done.value, seed)) }
                    try run.run(.commit(declaredOnly: run.done.value % 2 == 0))
                    withUnsafeBytes(of: run.done.value) { _ = pwrite(file, $0.baseAddress, 8, 0) }
                }
            }
            let bytes = (try? Data(contentsOf: URL(fileURLWithPath: told))) ?? Data()
            let acknowledged = bytes.count == 8 ? bytes.withUnsafeBytes { $0.loadUnaligned(as: Int.self) } : 0
            let run = try BlockRun(path)
            #expect(run.done.value >= acknowledged)
            while steps < run.done.value {
                _ = model.apply(Self.step(steps, seed))
                steps += 1
            }
            try #require(steps == run.done.value)
            let stored = try run.stored()
            for slot in 0..<BlockRun.slots {
                #expect(stored.slots[slot]?.byteCount == model.slots[slot]?.byteCount)
                #expect(stored.slots[slot]?.tag == model.slots[slot]?.tag)
            }
            try run.verify()
            try run.heap.close()
        }
        print("steps that were committed:", steps)
    }

    /// The n-th step of all processes.
    private static func step(_ n: Int, _ seed: UInt64) -> BlockStep {
        var generator = SeededGenerator(seed: seed &+ UInt64(n) &* 0x9e37_79b9)
        return BlockStep.random(&generator, slots: BlockRun.slots, isWithin: true)
    }
}
