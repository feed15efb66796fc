import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// Threads that store, a manager that flushes and sometimes refuses, and commits, all at once: no store is lost.
@Suite struct ManagerRaceTests {
    @Test(arguments: everyMode)
    func nothingIsLost(_ options: Store.OpenOptions) throws {
        let fixture = StoreFixture()
        try fixture.create()
        let store = try fixture.open(options)
        let task = try store.task(named: "main")
        let turns = Atomic<Int>(0)
        let keeper = Mutex<TestManager?>(nil)
        let manager = TestManager(
            onRequest: { request in
                // A cluster is refused now and then: the page is asked for alone.
                if request.length > 4096, turns.add(1, ordering: .relaxed).newValue % 3 == 0 { throw Complaint("not now") }
                try keeper.withLock { $0 }?.give(request)
            },
            onReturn: { _ in
                if turns.add(1, ordering: .relaxed).newValue % 4 == 0 { throw Complaint("not now") }
            })
        keeper.withLock { $0 = manager }
        let pages = 48
        let object = try store.makeObject(size: UInt64(pages * 4096), manager: manager, attributes: .init(clusterPages: 8))
        let first = try task.map(size: object.size, object: object)
        let second = try task.map(size: object.size, object: object)
        let rounds = Budget.of(quick: 30, default: 150, full: 1500)
        let running = Atomic<Int>(3)
        let last = Mutex<[Int]>([Int](repeating: 0, count: pages))
        // Each thread has pages of its own, and nobody flushes those of the first two.
        for worker in 0..<3 {
            Thread {
                var random = SeededGenerator(seed: UInt64(worker))
                for round in 1...rounds {
                    let page = worker * 16 + Int.random(in: 0..<16, using: &random)
                    let base = Bool.random(using: &random) ? first : second
                    let place = task.pointer(base + UInt64(page * 4096 + 8))
                    let isLost = last.withLock { $0[page] != 0 && place.load(as: Int.self) != $0[page] }
                    if isLost { Issue.record("page \(page) holds \(place.load(as: Int.self))") }
                    if worker < 2 {
                        place.storeBytes(of: round, as: Int.self)
                        last.withLock { $0[page] = round }
                    } else if round % 4 == 0 {
                        try? object.control.lockRequest(offset: UInt64(page * 4096), size: 4096, .flush)
                    }
                }
                running.subtract(1, ordering: .sequentiallyConsistent)
            }.start()
        }
        while running.load(ordering: .sequentiallyConsistent) > 0 {
            do { try store.commit() } catch { #expect((error as StoreError).code == .notReturned) }
        }
        while true {
            do { try store.commit() } catch { continue }
            break
        }
        for page in 0..<32 {
            let wanted = last.withLock { $0[page] }
            guard wanted != 0 else { continue }
            #expect(task.pointer(first + UInt64(page * 4096 + 8)).load(as: Int.self) == wanted)
            let kept = manager.pages.withLock { $0[UInt64(page * 4096)] } ?? []
            #expect(kept.count == 4096 && kept.withUnsafeBytes { $0.load(fromByteOffset: 8, as: Int.self) } == wanted)
        }
        try store.close()
    }
}
