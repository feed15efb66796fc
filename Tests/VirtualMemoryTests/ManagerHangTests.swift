import Dispatch
import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// A manager that takes its time over pages given back to it is the affair of whoever waits for that, and of nobody else.
@Suite(.timeLimit(.minutes(5))) struct ManagerHangTests {
    private let page = Bench.page

    @Test(arguments: everyMode)
    func aReturnThatHangsHarmsNobodyElse(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let isFreed = Mutex(false)
        let hanging = TestManager(onReturn: { _ in while !isFreed.withLock({ $0 }) { usleep(1000) } })
        let other = TestManager()
        let slow = try bench.store.makeObject(size: 4 * page, manager: hanging, attributes: .init(deadline: 600, clusterPages: 1))
        let quick = try bench.store.makeObject(size: 8 * page, manager: other, attributes: .init(deadline: 600, clusterPages: 1))
        let task = bench.task
        let slowly = try task.map(size: 4 * page, object: slow)
        let quickly = try task.map(size: 8 * page, object: quick)
        let plain = try task.map(size: 4 * page, object: try bench.object("plain"))
        bench.set(slowly, 5)
        let outcome = Mutex<Result<Version, StoreError>?>(nil)
        let ended = DispatchSemaphore(value: 0)
        Thread.detachNewThread { [store = bench.store] in
            let result = Result { () throws(StoreError) in try store.commit() }
            outcome.withLock { $0 = result }
            ended.signal()
        }
        try #require(eventually { !hanging.returns.isEmpty })

        // Memory, calls, faults and the looks of others go on, and so does what is in memory of the object itself.
        bench.fill(plain, [1, 2, 3, 4])
        #expect(bench.words(slowly, 1) == [5])
        bench.set(slowly + 8, 6)
        #expect(task.pointer(quickly + 5 * page).load(as: UInt8.self) == TestManager.value(5 * page))
        #expect(try task.read(address: quickly + 6 * page, size: 1) == [TestManager.value(6 * page)])
        let more = try task.allocate(size: 8 * page)
        bench.set(more, 7)
        try task.protect(address: more + page, size: page, .read)
        let copy = try task.map(size: 4 * page, object: try bench.store.object(named: "plain"), copy: true)
        try task.deallocate(address: more + 4 * page, size: page)
        try task.inherit(address: slowly, size: 4 * page, .none)
        let child = try task.createChild(named: "child")
        try child.terminate()
        #expect(try bench.store.mapState(.init(name: "plain")).withBytes { $0.count } == Int(4 * page))
        #expect(try bench.store.objects().count >= 1)
        bench.set(quickly, 8)
        #expect(try task.region(slowly).dirtyPages == 1)
        #expect(outcome.withLock { $0 == nil })

        isFreed.withLock { $0 = true }
        ended.wait()
        #expect(throws: Never.self) { try outcome.withLock { $0 }?.get() }
        #expect(hanging.pages.withLock { $0[0]?[0] } == 5)
        try bench.store.commit()
        #expect(bench.words(copy, 4) == [1, 2, 3, 4] && other.pages.withLock { $0[0]?[0] } == 8)
        try bench.store.close()
    }

    /// Whose commit gives a manager nothing does not wait for what an earlier one gave it.
    @Test(arguments: everyMode)
    func aSecondCommitterDoesNotWaitForTheFirstOnesManager(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let isFreed = Mutex(false)
        let manager = TestManager(onReturn: { _ in while !isFreed.withLock({ $0 }) { usleep(1000) } })
        let object = try bench.store.makeObject(size: 4 * page, manager: manager, attributes: .init(deadline: 600))
        let address = try bench.task.map(size: 4 * page, object: object)
        let plain = try bench.task.map(size: 4 * page, object: try bench.object("plain"))
        bench.set(address, 5)
        let outcome = Mutex<Result<Version, StoreError>?>(nil)
        let ended = DispatchSemaphore(value: 0)
        Thread.detachNewThread { [store = bench.store] in
            let result = Result { () throws(StoreError) in try store.commit() }
            outcome.withLock { $0 = result }
            ended.signal()
        }
        try #require(eventually { !manager.returns.isEmpty })
        for value in 1...3 {
            bench.set(plain, value)
            try bench.store.commit()
            #expect(try bench.store.mapState(.init(name: "plain")).withBytes { $0.load(as: Int.self) } == value)
        }
        #expect(outcome.withLock { $0 == nil })
        isFreed.withLock { $0 = true }
        ended.wait()
        #expect(throws: Never.self) { try outcome.withLock { $0 }?.get() }
        #expect(manager.returns.count == 1 && manager.pages.withLock { $0[0]?[0] } == 5)
        try bench.store.close()
    }

    /// Once its deadline has passed, commits say so at once, and ask for nothing more, until the manager has answered.
    @Test func aReturnThatNeverEndsIsNotAskedForAgain() throws {
        let bench = try Bench()
        let isFreed = Mutex(false)
        let manager = TestManager(onReturn: { _ in while !isFreed.withLock({ $0 }) { usleep(1000) } })
        let object = try bench.store.makeObject(size: 4 * page, manager: manager, attributes: .init(deadline: 0.2))
        let address = try bench.task.map(size: 4 * page, object: object)
        bench.set(address, 5)
        for _ in 0..<20 { #expect { try bench.store.commit() } throws: { ($0 as? StoreError)?.code == .notReturned } }
        isFreed.withLock { $0 = true }
        #expect(eventually { (try? bench.store.commit()) != nil })
        #expect(manager.returns.count == 1 && manager.pages.withLock { $0[0]?[0] } == 5)
        try bench.store.close()
    }
}
