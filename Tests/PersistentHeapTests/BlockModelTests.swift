import Foundation
import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// The allocator against a plain model: no overlap, contents kept, nothing lost, across commits, abandonments, transactions
/// and openings.
@Suite struct BlockModelTests {
    @Test func blocksAreThoseOfTheModel() throws {
        let seed = UInt64(ProcessInfo.processInfo.environment["VARVE_TEST_SEED"] ?? "") ?? .random(in: 0 ... .max)
        let isQuick = ProcessInfo.processInfo.environment["VARVE_TEST_BUDGET"] == "quick"
        print("seed:", seed)
        for run in 0..<UInt64(isQuick ? 3 : 20) {
            var generator = SeededGenerator(seed: seed &+ run)
            let slots = [8, 64, 256].randomElement(using: &generator)!
            let steps = (0..<(isQuick ? 1000 : 3000)).map { _ in BlockStep.random(&generator, slots: slots) }
            guard let failure = Self.failure(of: steps) else { continue }
            let shortest = Self.shrunk(steps)
            Issue.record("seed \(seed &+ run): \(failure)\nshortest: \(shortest)\nfails with: \(Self.failure(of: shortest) ?? "nothing")")
            return
        }
    }

    private static func failure(of steps: [BlockStep]) -> String? {
        let folder = TemporaryFolder(inMemory: true)
        do {
            let run = try BlockRun(folder.path + "/heap")
            defer { try? run.heap.close() }
            try run.run(steps)
            return nil
        } catch { return "\(error)" }
    }

    /// Leaves out parts as long as what is left still fails.
    private static func shrunk(_ steps: [BlockStep]) -> [BlockStep] {
        var steps = steps
        var size = steps.count / 2
        var attempts = 300
        while size > 0 {
            var start = 0
            while start < steps.count, attempts > 0 {
                var fewer = steps
                fewer.removeSubrange(start..<min(steps.count, start + size))
                attempts -= 1
                if failure(of: fewer) != nil { steps = fewer } else { start += size }
            }
            size /= 2
        }
        return steps
    }

    /// Several threads allocate, free and write at once, while another commits; then the heap is whole, in memory and on the disk.
    @Test func threadsShareAHeap() throws {
        let folder = TemporaryFolder(inMemory: true)
        let path = folder.path + "/heap"
        let heap = try PersistentHeap.open(path, options: .init(capacity: 256 << 20))
        let lists = try heap.root("lists", default: InlineArray<4, Ref<Link>?>(repeating: nil))
        try heap.commit()
        let rounds = ProcessInfo.processInfo.environment["VARVE_TEST_BUDGET"] == "quick" ? 1000 : 5000
        let isRunning = Flag()
        DispatchQueue.concurrentPerform(iterations: 5) { index in
            guard index < 4 else {
                while isRunning.count < 4 { _ = try? heap.commit(durability: .deferred, declaredOnly: true) }
                return
            }
            var generator = SeededGenerator(seed: UInt64(index))
            for round in 0..<rounds {
                heap.changing {
                    let grows = Int.random(in: 0..<3, using: &generator) > 0
                    if grows {
                        let size = [1, 3, 9, 40].randomElement(using: &generator)!
                        let block = try? heap.allocate(byteCount: size * 48)
                        guard let block, let link = try? heap.make(Link(value: round, block: heap.offset(of: block), next: lists.value[index])) else {
                            return
                        }
                        heap.space.store(round, at: heap.offset(of: block))
                        lists.value[index] = link
                    } else if let first = lists.value[index] {
                        let link = heap[first]
                        lists.value[index] = link.next
                        try? heap.space.free(link.block)
                        try? heap.free(first)
                    }
                }
            }
            isRunning.raise()
        }
        try heap.commit()
        try Self.verifyLists(heap)
        try heap.close()
        let again = try PersistentHeap.open(path)
        try Self.verifyLists(again)
        try again.close()
    }

    struct Link: Persistable {
        var value: Int
        var block: Int
        var next: Ref<Link>?
    }

    private static func verifyLists(_ heap: PersistentHeap) throws {
        let lists = try heap.root("lists", default: InlineArray<4, Ref<Link>?>(repeating: nil))
        var count = 0
        for index in 0..<4 {
            var next = lists.value[index]
            while let ref = next {
                let link = heap[ref]
                #expect(heap.space.load(link.block, as: Int.self) == link.value)
                count += 2
                next = link.next
            }
        }
        let report = try heap.check()
        #expect(report.problems == [])
        #expect(report.statistics.allocatedBlocks == count + 4)
    }
}

final class Flag: @unchecked Sendable {
    private let lock = NSLock()
    private var value = 0
    var count: Int { lock.withLock { value } }
    func raise() { lock.withLock { value += 1 } }
}
