import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// When managers are called, with what held, and what waits for them.
@Suite struct ManagerRuleTests {
    private let page = Bench.page

    @Test(arguments: everyMode)
    func mappingReturnsWhenTheObjectIsReady(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        for copy in [false, true] {
            let isReady = Mutex(false)
            let manager = TestManager(onInitialize: {
                usleep(50_000)
                isReady.withLock { $0 = true }
            })
            let object = try bench.store.makeObject(size: 4 * page, manager: manager)
            let address = try bench.task.map(size: 4 * page, object: object, copy: copy)
            #expect(isReady.withLock { $0 })
            #expect(bench.task.pointer(address + 3 * page).load(as: UInt8.self) == 4)
        }
        try bench.store.close()
    }

    /// Also where the object ends before its manager was told of it.
    @Test func initializationComesFirstAndTerminationLast() throws {
        let bench = try Bench()
        for round in 0..<60 {
            let manager = TestManager()
            let object = try bench.store.makeObject(size: page, manager: manager)
            if round % 3 == 1 { _ = try bench.task.map(size: page, object: object) }
            if round % 2 == 0 { object.terminate() } else { try object.control.destroy(reason: "test") }
            #expect(manager.waits(for: .terminate))
            #expect(manager.events.withLock { $0 } == [.initialize, .terminate])
        }
        try bench.store.close()
    }

    /// A manager that did not initialize is told nothing more, also where its object was ended meanwhile.
    @Test func whatDidNotInitializeIsNotTerminated() throws {
        final class Refuser: MemoryManager {
            let events: Events
            init(_ events: Events) { self.events = events }
            deinit { events.list.withLock { $0.append("freed") } }
            func initialize(_ object: MemoryObjectControl) throws {
                events.list.withLock { $0.append("initialize") }
                while !events.isFreed.withLock({ $0 }) { usleep(1000) }
                throw Complaint("no")
            }
            func dataRequest(_ request: DataRequest) throws {}
            func terminate(_ object: ObjectID) { events.list.withLock { $0.append("terminate") } }
        }
        final class Events: Sendable {
            let list = Mutex<[String]>([])
            let isFreed = Mutex(false)
        }
        let bench = try Bench()
        let events = Events()
        let object = try bench.store.makeObject(size: page, manager: Refuser(events))
        #expect(eventually { events.list.withLock { !$0.isEmpty } })
        object.terminate()
        events.isFreed.withLock { $0 = true }
        #expect(eventually { events.list.withLock { $0.count > 1 } })
        #expect(events.list.withLock { $0 } == ["initialize", "freed"])
        try bench.store.close()
    }

    /// Each of a manager's calls may use the store: no lock of it is held, and no transaction is open.
    @Test(arguments: everyMode)
    func noManagerIsCalledWithALockHeldOrInsideATransaction(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let store = bench.store, task = bench.task
        let calls = Mutex<[String: Int]>([:])
        let use: @Sendable (String) throws -> Void = { what in
            let number = calls.withLock { calls in
                calls[what, default: 0] += 1
                return calls[what]!
            }
            let object = try store.createObject(named: "\(what) \(number)", size: 4096)
            let address = try task.map(size: 4096, object: object)
            try task.protect(address: address, size: 4096, .read)
            _ = try task.region(address)
            _ = try task.remap(size: 4096, source: task, sourceAddress: address, copy: true)
            try task.deallocate(address: address, size: 4096)
        }
        final class User: MemoryManager {
            let use: @Sendable (String) throws -> Void
            let ended = Mutex(false)
            init(_ use: @escaping @Sendable (String) throws -> Void) { self.use = use }
            func initialize(_ object: MemoryObjectControl) throws { try use("initialize") }
            func dataRequest(_ request: DataRequest) throws {
                try use("request")
                try request.unavailable()
            }
            func dataReturn(_ pages: ReturnedPages) throws { try use("return") }
            func terminate(_ object: ObjectID) {
                do { try use("terminate") } catch { Issue.record("\(error)") }
                ended.withLock { $0 = true }
            }
        }
        let manager = User(use)
        let object = try store.makeObject(size: page, manager: manager)
        let address = try task.map(size: page, object: object)
        #expect(try task.read(address: address, size: 1) == [0])
        bench.set(address, 5)
        try store.commit()
        object.terminate()
        #expect(eventually { manager.ended.withLock { $0 } })
        for what in ["initialize", "request", "return", "terminate"] { #expect(calls.withLock { $0[what] } == 1, "\(what)") }
        try store.close()
    }

    /// A manager that reads what it manages waits for itself, no longer than the deadline.
    @Test(arguments: everyMode)
    func aManagerThatTouchesWhatItManagesIsNoHang(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let task = bench.task
        let place = Mutex<UInt64?>(nil)
        let told = Mutex<[KernReturn?]>([])
        let manager = TestManager { request in
            if let address = place.withLock({ $0 }) {
                let other = request.offset == 0 ? address + 4096 : address
                let error = failure { _ = try task.read(address: other, size: 1) }
                told.withLock { $0.append(error?.code) }
            }
            try request.unavailable()
        }
        let object = try bench.store.makeObject(size: 2 * page, manager: manager, attributes: .init(deadline: 0.2, clusterPages: 1))
        guard options.demandFill == true else {
            // Mapping asks: there is no address yet at which it could be touched.
            try task.map(size: 2 * page, object: object)
            try bench.store.close()
            return
        }
        let address = try task.map(size: 2 * page, object: object)
        place.withLock { $0 = address }
        // Whoever waits meanwhile is told so by the deadline, or served when the manager has given itself up.
        let error = failure { _ = try task.read(address: address, size: 1) }
        #expect(error == nil || error?.code == .memoryError)
        #expect(eventually { told.withLock { !$0.isEmpty } })
        #expect(told.withLock { $0[0] } == .memoryError)
        place.withLock { $0 = nil }
        #expect(eventually { (try? task.read(address: address, size: 1)) == [0] })
        try bench.store.close()
    }

    @Test(arguments: everyMode)
    func unavailableDataIsZeros(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let object = try bench.store.makeObject(size: 5 * page, manager: TestManager { try $0.unavailable() })
        let address = try bench.task.map(size: 5 * page, object: object)
        let copy = try bench.task.map(size: 5 * page, object: object, copy: true)
        for start in [address, copy] {
            #expect(try bench.task.read(address: start, size: 5 * page).allSatisfy { $0 == 0 })
        }
        try bench.store.close()
    }

    /// What is destroyed fails for good; what a manager can't give may come later.
    @Test(arguments: fillingModes)
    func aDestroyedObjectIsAMemoryFailureAndAPageThatCannotBeGivenAMemoryError(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let object = try bench.store.makeObject(size: 2 * page, manager: TestManager { try $0.fail("not now") })
        let address = try bench.task.map(size: 2 * page, object: object)
        func codes() -> [KernReturn] {
            [
                bench.code { _ = try bench.task.read(address: address, size: 1) },
                bench.code { try [UInt8(1)].withUnsafeBytes { try bench.task.write(address: address, $0) } },
                bench.code { try bench.task.copy(source: address, size: 1, destination: address + page) },
                bench.code { try bench.task.setBehavior(address: address, size: page, .zero) },
                bench.code { try bench.task.wire(address: address, size: page, access: .read) },
                bench.code { try bench.task.remap(size: page, source: bench.task, sourceAddress: address, copy: true) },
            ]
        }
        #expect(codes() == [KernReturn](repeating: .memoryError, count: 6))
        try object.control.destroy(reason: "gone")
        #expect(codes() == [KernReturn](repeating: .memoryFailure, count: 6))
        #expect(task(bench, address)?.reason == "gone")
        try bench.store.close()
    }

    private func task(_ bench: Bench, _ address: UInt64) -> MemoryFault? { bench.task.lastFault(address) }
}
