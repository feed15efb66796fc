import TestSupport
import Testing
import Varve

/// vm_msync where a heap's transaction is open: an error, and nothing has happened.
@Suite struct SyncInTransactionTests {
    private struct Refused: Error {}

    @Test(arguments: [
        SyncFlags.synchronous, .asynchronous, [.synchronous, .invalidate], [.synchronous, .killPages], [.asynchronous, .killPages],
        .invalidate, .killPages,
    ])
    func insideATransactionItIsAnErrorThatChangesNothing(_ flags: SyncFlags) throws {
        let bench = try Bench()
        let heap = try PersistentHeap.open(in: bench.store, options: .init(capacity: 1 << 20))
        let n = try heap.root("n", default: 1)
        let address = try bench.task.allocate(size: Bench.page)
        bench.set(address, 1)
        let before = try bench.store.commit()
        #expect(throws: Refused.self) {
            try heap.transaction {
                n.value = 2
                bench.set(address, 2)
                #expect(bench.code { try bench.task.sync(address: address, size: Bench.page, flags) } == .failure)
                #expect(bench.word(address) == 2 && n.value == 2)
                throw Refused()
            }
        }
        #expect(n.value == 1 && bench.word(address) == 1)
        #expect(try bench.store.commit() == before)
        // Afterwards it is none.
        bench.set(address, 3)
        #expect(bench.code { try bench.task.sync(address: address, size: Bench.page, flags) } == .success)
        try heap.close()
        try bench.store.close()
    }

    /// What a heap keeps beside its bytes goes with them.
    @Test(arguments: [SyncFlags.invalidate, .killPages])
    func droppingAHeapsBytesLeavesAWholeHeap(_ flags: SyncFlags) throws {
        let bench = try Bench()
        let heap = try PersistentHeap.open(in: bench.store, options: .init(capacity: 1 << 20))
        let list = try heap.root("list", default: Ref<Int>(offset: 0))
        list.value = try heap.make(1)
        let kept = try (0..<100).map { try heap.make($0) }
        try heap.commit()
        let first = Set(try (0..<200).map { try heap.make($0).offset })
        for ref in kept { try heap.free(ref) }
        let task = try bench.store.task(named: "heap")
        let region = try #require(task.entries.first)
        try task.sync(address: region.start, size: region.length, flags)
        #expect(try heap.check().problems == [])
        // What was allocated since the commit is free again; what was freed since is allocated.
        let again = Set(try (0..<200).map { try heap.make(-$0).offset })
        #expect(again.isDisjoint(with: kept.map(\.offset)) && !again.isDisjoint(with: first))
        for (number, ref) in kept.enumerated() { #expect(heap[ref] == number) }
        #expect(try heap.check().problems == [])
        try heap.commit()
        #expect(try heap.check().problems == [])
        try heap.close()
        try bench.store.close()
    }
}
