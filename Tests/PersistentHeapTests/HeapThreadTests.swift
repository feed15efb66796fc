import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// Several threads in one heap.
@Suite struct HeapThreadTests {
    let fixture = HeapFixture()
    struct Refused: Error {}
    static let rounds = CollectionsBudget.name == "quick" ? 60 : 300

    private final class Flag: Sendable { let isSet = Atomic(false) }

    /// Runs `body` in another thread, again and again, while the calling one does something else.
    private func beside(_ body: @escaping @Sendable (Int) -> Void, _ work: () throws -> Void) rethrows {
        let isOver = Flag()
        let ended = DispatchSemaphore(value: 0)
        Thread {
            var round = 0
            while !isOver.isSet.load(ordering: .relaxed) {
                body(round)
                round += 1
            }
            ended.signal()
        }.start()
        defer {
            isOver.isSet.store(true, ordering: .relaxed)
            ended.wait()
        }
        try work()
    }

    /// Debug builds look at each declared commit for pages that were written and not declared.
    @Test func singleStoresAreDeclaredBesideCommits() throws {
        let heap = try fixture.open()
        let refs = try (0..<64).map { _ in
            Ref<Int>(offset: try heap.allocate(byteCount: 4096, alignment: 4096) - heap.space.base)
        }
        let n = try heap.root("n", default: 0)
        for ref in refs { heap[ref] = 0 }
        try heap.commit()
        try beside({ round in
            for ref in refs { heap[ref] = round }
            n.value += 1
        }) {
            for _ in 0..<Self.rounds { try heap.commit(declaredOnly: true) }
        }
        try heap.commit(declaredOnly: true)
        try heap.reading(at: .head) { (past) throws in
            for ref in refs { #expect(past[ref] == heap[ref]) }
            #expect(try past.root("n", default: -1).value == n.value)
        }
        try heap.close()
    }

    /// A store waits for a transaction to be undone, and is not undone with it.
    @Test func singleStoresAreNotUndoneByAnothersTransaction() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 0)
        let other = try heap.root("other", default: 0)
        try heap.commit()
        let last = Mutex(0)
        try beside({ _ in
            n.value += 1
            last.withLock { $0 = n.value }
        }) {
            for _ in 0..<Self.rounds {
                try heap.commit(declaredOnly: true)
                try? heap.transaction(declaredOnly: true) {
                    other.value += 1
                    throw Refused()
                }
            }
        }
        #expect(n.value == last.withLock { $0 })
        #expect(other.value == 0)
        try heap.close()
    }

    /// Each way to store one value waits for another thread's transaction to end, and is there whether that commits or not.
    @Test(arguments: [false, true]) func aSingleStoreWaitsForATransaction(isCommitted: Bool) throws {
        let heap = try fixture.open()
        let n = try heap.root("n", default: 0)
        let ref = try heap.make(0)
        let changes: [@Sendable () -> Void] = [
            { n.value = 5 }, { n.value += 5 }, { heap[ref] = 5 }, { heap[ref] += 5 },
            { #expect((try? heap.root("new", default: 5)) != nil) },
        ]
        for change in changes {
            n.value = 0
            heap[ref] = 0
            try heap.commit()
            let ended = DispatchSemaphore(value: 0)
            try? heap.transaction(declaredOnly: true) {
                Thread {
                    change()
                    ended.signal()
                }.start()
                #expect(ended.wait(timeout: .now() + 0.05) == .timedOut)
                #expect(n.value == 0 && heap[ref] == 0)
                if !isCommitted { throw Refused() }
            }
            ended.wait()
            #expect(n.value == 5 || heap[ref] == 5 || heap.rootNames == ["n", "new"])
            try heap.commit(declaredOnly: true)
            try heap.reading(at: .head) { past in
                #expect(past[n.ref] == n.value && past[ref] == heap[ref])
            }
        }
        try heap.close()
    }

    @Test func rootsMadeByManyThreadsAreAllThere() throws {
        let heap = try fixture.open()
        try heap.commit()
        let shared = Mutex<[String: Set<Int>]>([:])
        DispatchQueue.concurrentPerform(iterations: 4) { thread in
            for number in 0..<60 {
                do {
                    let own = try heap.root("\(thread).\(number)", default: thread * 1000 + number)
                    if number % 3 == 0 { try heap.removeRoot("\(thread).\(number)") } else { own.value += 1 }
                    let ref = try heap.root("shared \(number)", default: thread).ref.offset
                    _ = shared.withLock { $0["shared \(number)", default: []].insert(ref) }
                } catch { Issue.record("\(error)") }
            }
        }
        #expect(Set(heap.rootNames).count == heap.rootNames.count)
        #expect(heap.rootNames.count == 4 * 40 + 60)
        for thread in 0..<4 {
            for number in 0..<60 where number % 3 != 0 {
                #expect(try heap.root("\(thread).\(number)", default: -1).value == thread * 1000 + number + 1)
            }
        }
        #expect(shared.withLock { $0.values.allSatisfy { $0.count == 1 } })
        #expect(try heap.check().problems == [])
        try heap.close()
    }

    /// Threads that are in a heap while it is closed get an error, or have none.
    @Test func closingEndsWhatOthersDo() throws {
        for _ in 0..<10 {
            let heap = try fixture.open()
            _ = try heap.root("n", default: 0)
            try heap.commit()
            let codes = Mutex<[HeapError.Code]>([])
            let started = Atomic(0)
            let group = DispatchGroup()
            for _ in 0..<3 {
                group.enter()
                Thread {
                    var blocks: [UnsafeMutableRawPointer] = []
                    started.add(1, ordering: .relaxed)
                    do throws(HeapError) {
                        while true {
                            blocks.append(try heap.allocate(byteCount: 100))
                            if blocks.count > 100 { try heap.deallocate(blocks.removeLast()) }
                            if blocks.count > 100 { try heap.deallocate(blocks.removeLast()) }
                        }
                    } catch { codes.withLock { $0.append(error.code) } }
                    group.leave()
                }.start()
            }
            while started.load(ordering: .relaxed) < 3 { usleep(100) }
            usleep(2000)
            try heap.close()
            #expect(group.wait(timeout: .now() + 20) == .success)
            #expect(codes.withLock { $0 } == [.wrongState, .wrongState, .wrongState])
        }
    }

    /// Two threads that each make their first change in the other's heap, within a change of their own.
    @Test func firstChangesAcrossHeapsDontWaitForEachOther() throws {
        let group = DispatchGroup()
        let a = try fixture.open()
        let b = try PersistentHeap.open(fixture.path + "2", options: .init(capacity: 16 << 20))
        let arrived = Atomic(0)
        for (own, other) in [(a, b), (b, a)] {
            group.enter()
            Thread {
                own.changing {
                    _ = try? own.allocate(byteCount: 10)
                    arrived.add(1, ordering: .relaxed)
                    while arrived.load(ordering: .relaxed) < 2 { usleep(10) }
                    #expect(throws: Never.self) { _ = try other.allocate(byteCount: 10) }
                }
                group.leave()
            }.start()
        }
        let isOver = group.wait(timeout: .now() + 20) == .success
        #expect(isOver)
        guard isOver else { return }
        try a.close()
        try b.close()
    }

    /// Of two threads that upgrade a root, one does; the other finds it done.
    @Test func aRootIsUpgradedOnce() throws {
        for round in 0..<10 {
            let heap = try fixture.open()
            _ = try heap.root("n \(round)", default: 1)
            try heap.commit()
            let upgrades = Atomic(0)
            DispatchQueue.concurrentPerform(iterations: 3) { _ in
                do {
                    let root = try heap.root("n \(round)", of: Double.self, version: 2, default: 0) { old in
                        upgrades.add(1, ordering: .relaxed)
                        return Double(try old.value(as: Int.self)) + 0.5
                    }
                    #expect(root.value == 1.5)
                } catch { Issue.record("\(error)") }
            }
            #expect(upgrades.load(ordering: .relaxed) == 1)
            #expect(try heap.check().problems == [])
            try heap.close()
        }
    }
}
