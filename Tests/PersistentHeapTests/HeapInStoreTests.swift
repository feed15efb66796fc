import Foundation
import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// A heap beside what else its store holds, and beside calls of the store that pass the heap by.
@Suite struct HeapInStoreTests {
    let fixture = HeapFixture()
    struct Refused: Error {}

    private func makeStore() throws -> Store {
        try Store.create(fixture.path, options: .init(ringBytes: 1 << 20))
        return try Store.open(fixture.path)
    }

    private func open(_ name: String, in store: Store) throws(HeapError) -> PersistentHeap {
        try PersistentHeap.open(in: store, options: .init(capacity: 16 << 20, name: name))
    }

    private func code(of operation: () throws -> Void) -> StoreError.Code? {
        do { try operation() } catch { return (error as? StoreError)?.code }
        return nil
    }

    /// Making a heap is a commit: it must not make durable what others have not committed.
    @Test func aNewHeapIsMadeOnACommittedState() throws {
        let store = try makeStore()
        let a = try open("a", in: store)
        let n = try a.root("n", default: 1)
        try a.commit()
        n.value = 2
        #expect(heapError { _ = try open("b", in: store) }?.code == .uncommittedChanges)
        #expect(n.value == 2)
        #expect(try a.reading(at: .head) { try $0.root("n", default: 0).value } == 1)
        // One that is there may be opened: nothing is committed for it.
        try a.abandon()
        let b = try open("b", in: store)
        try b.close()
        n.value = 3
        let again = try open("b", in: store)
        #expect(try a.reading(at: .head) { try $0.root("n", default: 0).value } == 1)
        try again.close()
        try a.commit()
        try a.close()
        try store.close()
    }

    @Test func noHeapIsOpenedWithinATransactionOrAChange() throws {
        let store = try makeStore()
        let a = try open("a", in: store)
        _ = try a.root("n", default: 1)
        try a.commit()
        try a.transaction {
            #expect(heapError { _ = try open("b", in: store) }?.code == .wrongState)
        }
        a.changing {
            #expect(heapError { _ = try open("b", in: store) }?.code == .wrongState)
        }
        try open("b", in: store).close()
        try a.close()
        try store.close()
    }

    @Test func oneOfTwoThreadsOpensAHeap() throws {
        let store = try makeStore()
        for round in 0..<20 {
            let answers = Answers()
            DispatchQueue.concurrentPerform(iterations: 3) { _ in
                do throws(HeapError) {
                    let heap = try open("heap \(round / 2)", in: store)
                    answers.add(heap)
                } catch { answers.add(error) }
            }
            #expect(answers.heaps.count == 1)
            #expect(answers.errors.map(\.code) == [.wrongState, .wrongState])
            for heap in answers.heaps { try heap.close() }
        }
        try store.close()
    }

    private final class Answers: @unchecked Sendable {
        private let lock = NSLock()
        private(set) var heaps: [PersistentHeap] = []
        private(set) var errors: [HeapError] = []
        func add(_ heap: PersistentHeap) { lock.withLock { heaps.append(heap) } }
        func add(_ error: HeapError) { lock.withLock { errors.append(error) } }
    }

    /// The store's own abandonment and rollback put the heap's bytes back as the heap's own do.
    @Test func theStoresAbandonmentIsTheHeapsToo() throws {
        let store = try makeStore()
        let heap = try open("a", in: store)
        let n = try heap.root("n", default: 1)
        try heap.commit(snapshot: "one")
        for size in 1...60 { _ = try heap.allocate(byteCount: size * 100) }
        n.value = 2
        try store.abandon()
        #expect(n.value == 1)
        var blocks: Set<UnsafeMutableRawPointer> = []
        for size in 1...60 { blocks.insert(try heap.allocate(byteCount: size * 50)) }
        #expect(blocks.count == 60)
        #expect(try heap.check().problems == [])
        // What was declared before the abandonment is not uncommitted after it.
        try store.abandon()
        try heap.transaction(declaredOnly: true) { n.value = 3 }
        for size in 1...60 { _ = try heap.allocate(byteCount: size * 100) }
        try heap.commit()
        try store.rollback(to: .snapshot("one"), object: "a")
        #expect(n.value == 1)
        for size in 1...60 { _ = try heap.allocate(byteCount: size * 70) }
        #expect(try heap.check().problems == [])
        try heap.close()
        try store.close()
    }

    /// A transaction of a heap is all or nothing, also for who goes to the store.
    @Test func theStoreCommitsNoHalfTransaction() throws {
        let store = try makeStore()
        let heap = try open("a", in: store)
        let n = try heap.root("n", default: 1)
        try heap.commit()
        try? heap.transaction {
            n.value = 2
            for operation in [
                { _ = try store.commit() }, { try store.abandon() }, { _ = try store.rollback(to: .head) },
            ] as [() throws -> Void] {
                #expect(code(of: operation) == .wrongState)
            }
            throw Refused()
        }
        #expect(n.value == 1)
        heap.changing {
            n.value = 5
            #expect(code(of: { _ = try store.commit() }) == .wrongState)
        }
        try store.commit(declaredOnly: true)
        #expect(try heap.reading(at: .head) { try $0.root("n", default: 0).value } == 5)
        try heap.transaction(declaredOnly: true) { n.value = 6 }
        try heap.close()
        try store.close()
    }

    /// What failed has committed nothing: what was declared is declared still.
    @Test func whatFailsForgetsNothingDeclared() throws {
        let store = try makeStore()
        let heap = try open("a", in: store)
        let n = try heap.root("n", default: 1)
        try heap.commit(snapshot: "taken")
        n.value = 2
        #expect(heapError { _ = try heap.commit(declaredOnly: true, snapshot: "taken") }?.cause?.code == .exists)
        #expect(heapError { try heap.transaction(declaredOnly: true) {} }?.code == .uncommittedChanges)
        #expect(heapError { _ = try heap.commit(snapshot: "taken") }?.cause?.code == .exists)
        #expect(heapError { _ = try heap.rollback(to: .snapshot("taken")) }?.cause?.code == .busy)
        #expect(heapError { try heap.transaction(declaredOnly: true) {} }?.code == .uncommittedChanges)
        try heap.commit(declaredOnly: true)
        #expect(try heap.reading(at: .head) { try $0.root("n", default: 0).value } == 2)
        try heap.transaction(declaredOnly: true) { n.value = 3 }
        try heap.close()
        try store.close()
    }

    /// So does one that nobody refers to any more.
    @Test func aForgottenHeapsChangesStayDeclared() throws {
        let store = try makeStore()
        let a = try open("a", in: store)
        do {
            let b = try open("b", in: store)
            let n = try b.root("n", default: 1)
            try b.commit()
            n.value = 7
        }
        #expect(heapError { try a.transaction(declaredOnly: true) {} }?.code == .uncommittedChanges)
        try a.commit(declaredOnly: true)
        let b = try open("b", in: store)
        #expect(try b.reading(at: .head) { try $0.root("n", default: 0).value } == 7)
        try a.close()
        try b.close()
        try store.close()
    }

    /// A heap that is closed, and whose store stays open, leaves what was declared to the store's next commit.
    @Test func aClosedHeapsChangesStayDeclared() throws {
        let store = try makeStore()
        let heap = try open("a", in: store)
        let n = try heap.root("n", default: 1)
        try heap.commit()
        n.value = 2
        try heap.close()
        try store.commit(declaredOnly: true)
        let again = try open("a", in: store)
        #expect(try again.reading(at: .head) { try $0.root("n", default: 0).value } == 2)
        try again.close()
        try store.close()
    }
}
