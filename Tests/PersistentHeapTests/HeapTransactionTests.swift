import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

@testable import PersistentHeap

@Suite struct HeapTransactionTests {
    let fixture = HeapFixture()
    struct Refused: Error {}

    @Test func aTransactionIsACommitOrNothing() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 1)
        try heap.commit()
        try heap.transaction { n.value = 2 }
        #expect(try heap.reading(at: .head) { try $0.root("n", default: 0).value } == 2)
        let blocks = try heap.statistics().allocatedBlocks
        #expect(throws: Refused.self) {
            try heap.transaction {
                n.value = 3
                for size in 1...200 { _ = try heap.allocate(byteCount: size * 300) }
                _ = try heap.root("other", default: 1)
                throw Refused()
            }
        }
        #expect(n.value == 2)
        #expect(heap.rootNames == ["n"])
        #expect(try heap.statistics().allocatedBlocks == blocks)
        #expect(try heap.check().problems == [])
        // What was undone is free again: the same block is handed out.
        let first = try heap.allocate(byteCount: 500)
        try heap.abandon()
        #expect(try heap.allocate(byteCount: 500) == first)
        try heap.close()
    }

    /// A transaction that throws, and whose error goes no further.
    private func refuse(_ heap: PersistentHeap) { try? heap.transaction { throw Refused() } }

    @Test func nestedTransactionsJoinAndDoom() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 1)
        try heap.commit()
        try heap.transaction {
            n.value = 2
            try heap.transaction { n.value += 1 }
        }
        #expect(try heap.reading(at: .head) { try $0.root("n", default: 0).value } == 3)
        let doomed = heapError {
            try heap.transaction {
                n.value = 9
                refuse(heap)
                #expect(heapError { try heap.transaction {} }?.code == .doomed)
            }
        }
        #expect(doomed?.code == .doomed)
        #expect(n.value == 3)
        try heap.transaction { n.value = 4 }
        #expect(n.value == 4)
        try heap.close()
    }

    @Test func transactionsWithABeginningAndAnEnd() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 1)
        #expect(heapError { try heap.beginTransaction() }?.code == .uncommittedChanges)
        #expect(heapError { _ = try heap.commitTransaction() }?.code == .wrongState)
        #expect(heapError { try heap.abandonTransaction() }?.code == .wrongState)
        try heap.commit()
        try heap.beginTransaction()
        n.value = 2
        try heap.beginTransaction()
        n.value = 3
        #expect(try heap.commitTransaction() == nil)
        try heap.transaction { n.value += 1 }
        #expect(heapError { try heap.commit() }?.code == .wrongState)
        #expect(heapError { try heap.close() }?.code == .wrongState)
        let version = try heap.commitTransaction(message: "both")
        #expect(try version != nil && heap.reading(at: .head) { try $0.root("n", default: 0).value } == 4)

        try heap.beginTransaction()
        n.value = 5
        try heap.abandonTransaction()
        #expect(n.value == 4)
        // Another thread's transactions are not this one's.
        try heap.beginTransaction()
        let code = Mutex<HeapError.Code?>(nil)
        let isDone = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            do throws(HeapError) { _ = try heap.commitTransaction() } catch { code.withLock { $0 = error.code } }
            isDone.signal()
        }
        isDone.wait()
        #expect(code.withLock { $0 } == .wrongState)
        n.value = 6
        try heap.beginTransaction()
        try heap.abandonTransaction()
        #expect(heapError { try heap.beginTransaction() }?.code == .doomed)
        #expect(heapError { _ = try heap.commitTransaction() }?.code == .doomed)
        #expect(n.value == 4)
        try heap.close()
    }

    /// A closure's transaction is ended by its end alone, and what it leaves open can't be committed.
    @Test func aClosureEndsWhatItBegan() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 1)
        try heap.commit()
        let error = heapError {
            try heap.transaction {
                #expect(heapError { _ = try heap.commitTransaction() }?.code == .wrongState)
                #expect(heapError { try heap.abandonTransaction() }?.code == .wrongState)
                n.value = 2
                try heap.beginTransaction()
            }
        }
        #expect(error?.code == .doomed && n.value == 1)
        try heap.beginTransaction()
        #expect(throws: Refused.self) {
            try heap.transaction {
                try heap.beginTransaction()
                throw Refused()
            }
        }
        #expect(heapError { _ = try heap.commitTransaction() }?.code == .doomed)
        try heap.transaction {
            try heap.beginTransaction()
            n.value = 7
            try heap.transaction { n.value += 1 }
            try heap.commitTransaction()
        }
        #expect(n.value == 8)
        #expect(heapError { try heap.abandonTransaction() }?.code == .wrongState)
        try heap.close()
    }

    /// What can be neither committed nor undone there is not ended: it is open still.
    @Test func noTransactionEndsWithinAChange() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 1)
        try heap.commit()
        try heap.beginTransaction()
        n.value = 2
        heap.changing {
            #expect(heapError { try heap.commitTransaction() }?.code == .wrongState)
            #expect(heapError { try heap.abandonTransaction() }?.code == .wrongState)
        }
        try heap.abandonTransaction()
        #expect(n.value == 1)
        try heap.close()
    }

    @Test func aTransactionBeginsOnACommittedState() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 1)
        #expect(heapError { try heap.transaction {} }?.code == .uncommittedChanges)
        try heap.commit()
        n.value = 2
        #expect(heapError { try heap.transaction(declaredOnly: true) {} }?.code == .uncommittedChanges)
        try heap.commit()
        // A store through a raw pointer, which nothing declared.
        let pointer = UnsafeMutableRawPointer(mutating: UnsafeRawPointer(bitPattern: UInt(bitPattern: heap.space.base) + UInt(n.ref.offset))!)
        pointer.storeBytes(of: 5, as: Int.self)
        #expect(heapError { try heap.transaction {} }?.code == .uncommittedChanges)
        try heap.abandon()
        #expect(n.value == 2)
        try heap.transaction {
            #expect(heapError { try heap.commit() }?.code == .wrongState)
            #expect(heapError { try heap.abandon() }?.code == .wrongState)
            #expect(heapError { try heap.close() }?.code == .wrongState)
        }
        heap.changing {
            #expect(heapError { try heap.commit() }?.code == .wrongState)
            #expect(heapError { try heap.transaction {} }?.code == .wrongState)
        }
        try heap.close()
        #expect(heapError { try heap.commit() }?.code == .wrongState)
        #expect(heapError { _ = try heap.allocate(byteCount: 1) }?.code == .wrongState)
        #expect(heapError { _ = try heap.root("n", default: 1) }?.code == .wrongState)
        try heap.close()
    }

    @Test func declaredTransactionsAreUndoneToo() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 0)
        try heap.commit(declaredOnly: true)
        for round in 1...20 {
            try? heap.transaction(declaredOnly: true) {
                n.value += 1
                _ = try heap.make(round)
                if round % 3 == 0 { throw Refused() }
            }
            #expect(n.value == round - round / 3)
        }
        #expect(try heap.statistics().allocatedBlocks == 4 + 14)
        try heap.close()
        let again = try fixture.open()
        #expect(try again.root("n", default: 0).value == 14)
        #expect(try again.check().problems == [])
        try again.close()
    }

    /// No other thread's change is within a transaction, nor its commit.
    @Test func aTransactionExcludesOtherThreads() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 0)
        try heap.commit()
        DispatchQueue.concurrentPerform(iterations: 4) { index in
            for round in 0..<50 {
                try? heap.transaction(declaredOnly: true) {
                    let seen = n.value
                    n.value += 1
                    for _ in 0..<10 { try heap.free(heap.make(round)) }
                    guard n.value == seen + 1 else { return }
                    if (index + round) % 5 == 0 { throw Refused() }
                }
            }
        }
        #expect(n.value == 4 * 40)
        #expect(try heap.check().problems == [])
        try heap.close()
    }

    @Test func pastStatesAreReadBesideTheLiveOne() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 1)
        let list = try heap.root("list", default: Ref<Int>(offset: 0))
        list.value = try heap.make(10)
        try heap.commit(snapshot: "one")
        n.value = 2
        heap[list.value] = 20
        let second = try heap.commit()
        let one = try heap.at(.snapshot("one"))
        let two = try heap.at(.version(second))
        n.value = 3
        try heap.commit(declaredOnly: true)
        for (view, number) in [(one, 1), (two, 2)] {
            #expect(view.isReadOnly && view.isRelocated)
            #expect(try view.root("n", default: 0).value == number)
            #expect(view[try view.root("list", default: Ref<Int>(offset: 0)).value] == number * 10)
            #expect(heapError { _ = try view.root("new", default: 0) }?.code == .noRoot)
            #expect(heapError { _ = try view.allocate(byteCount: 1) }?.code == .readOnly)
            #expect(heapError { try view.commit() }?.code == .readOnly)
            #expect(heapError { try view.transaction {} }?.code == .readOnly)
            #expect(try view.check().problems == [])
        }
        #expect(n.value == 3)
        #expect(heapError { _ = try heap.at(.snapshot("none")) }?.cause?.code == .notFound)
        // Views end with their heap.
        try heap.close()
        #expect(heapError { _ = try one.root("n", default: 0) }?.code == .wrongState)
        let other = try PersistentHeap.open(fixture.path, at: .snapshot("one"))
        #expect(try other.root("n", default: 0).value == 1)
        try other.close()
        #expect(heapError { _ = try PersistentHeap.open(fixture.path + "2", at: .head) }?.code == .store)
    }

    @Test func aRollbackShowsTheOldBytesInPlace() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 1)
        try heap.commit(snapshot: "one")
        n.value = 2
        for _ in 0..<100 { _ = try heap.make(1) }
        _ = try heap.root("later", default: 1)
        try heap.commit()
        try heap.rollback(to: .snapshot("one"))
        #expect(n.value == 1)
        #expect(heap.rootNames == ["n"])
        #expect(try heap.check().problems == [])
        _ = try heap.make(1)
        try heap.commit()
        #expect(try heap.check().problems == [])
        try heap.close()
    }

    @Test func heapsOfOneStoreCommitAndAbandonTogether() throws {
        try Store.create(fixture.path)
        let store = try Store.open(fixture.path)
        let a = try PersistentHeap.open(in: store, options: .init(capacity: 16 << 20, name: "a"))
        let b = try PersistentHeap.open(in: store, options: .init(capacity: 16 << 20, name: "b"))
        let inA = try a.root("n", default: 1), inB = try b.root("n", default: 1)
        try a.commit()
        inA.value = 2
        inB.value = 2
        try b.commit(declaredOnly: true)
        #expect(try a.reading(at: .head) { try $0.root("n", default: 0).value } == 2)
        #expect(throws: Refused.self) {
            try a.transaction {
                inA.value = 3
                inB.value = 3
                _ = try b.make(7)
                throw Refused()
            }
        }
        #expect(inA.value == 2 && inB.value == 2)
        #expect(try b.check().problems == [])
        #expect(heapError { _ = try PersistentHeap.open(in: store, options: .init(name: "a")) }?.code == .wrongState)
        try a.close()
        let again = try PersistentHeap.open(in: store, options: .init(name: "a"))
        #expect(try again.root("n", default: 0).value == 2)
        try again.close()
        try b.close()
        try store.close()
    }

    /// 64 GiB, of which nothing is written but what is used.
    @Test func aHeapOfTheLargestCapacityTakesLittle() throws {
        for round in 0..<3 {
            let heap = try PersistentHeap.open(fixture.path, options: .init(create: .init(ringBytes: 1 << 20)))
            #expect(heap.capacity == 1 << 36)
            let n = try heap.root("n", default: 0)
            #expect(n.value == round)
            try heap.commit()
            try heap.transaction {
                n.value += 1
                _ = try heap.allocate(byteCount: 1 << 20)
            }
            #expect(try heap.statistics().allocatedBytes < 4 << 20)
            #expect(try heap.check().problems == [])
            try heap.close()
        }
    }

    /// What a thread had cached is there for others when it ends.
    @Test func threadsThatEndLeaveTheirBlocks() throws {
        let heap = try fixture.open()
        _ = try heap.root("n", default: 0)
        try heap.commit()
        for _ in 0..<20 {
            let thread = Thread {
                for size in 1...100 {
                    guard let block = try? heap.allocate(byteCount: size * 10) else { return }
                    try? heap.deallocate(block)
                }
            }
            thread.start()
            while !thread.isFinished { usleep(1000) }
        }
        let statistics = try heap.statistics()
        #expect(statistics.allocatedBlocks == 4)
        #expect(statistics.extent < 3 << 20)
        #expect(try heap.check().problems == [])
        try heap.close()
    }

    @Test func aFullHeapSaysSoAndGoesOn() throws {
        let heap = try PersistentHeap.open(fixture.path, options: .init(capacity: 1 << 20))
        try heap.commit()
        var blocks: [UnsafeMutableRawPointer] = []
        let full = heapError { while true { blocks.append(try heap.allocate(byteCount: 3000)) } }
        #expect(full?.code == .full)
        #expect(blocks.count > 250)
        #expect(heapError { _ = try heap.allocate(byteCount: 1 << 40) }?.code == .full)
        #expect(heapError { _ = try heap.allocate(byteCount: .max) }?.code == .full)
        #expect(heapError { _ = try heap.allocate(byteCount: -1) }?.code == .invalid)
        #expect(heapError { _ = try heap.allocate(byteCount: 1, alignment: 3) }?.code == .invalid)
        for block in blocks { try heap.deallocate(block) }
        #expect(heapError { try heap.deallocate(blocks[0]) }?.code == .notAllocated)
        #expect(heapError { try heap.deallocate(blocks[0] + 16) }?.code == .notAllocated)
        #expect(heapError { try heap.deallocate(heap.space.base - 4096) }?.code == .notAllocated)
        // Spans that became empty serve other sizes.
        let large = try heap.allocate(byteCount: 700 << 10)
        #expect(try heap.usableSize(large) >= 700 << 10)
        #expect(try heap.check().problems == [])
        try heap.close()
        #expect(heapError { _ = try PersistentHeap.open(fixture.path + "2", options: .init(capacity: 100)) }?.code == .invalid)
    }
}
