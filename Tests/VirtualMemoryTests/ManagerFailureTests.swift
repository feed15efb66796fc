import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// Managers that fail harm only who touches their pages, and the reason is told.
@Suite struct ManagerFailureTests {
    let fixture = StoreFixture()

    private func open(_ options: Store.OpenOptions = .init()) throws -> (store: Store, task: VMTask) {
        try fixture.create()
        let store = try fixture.open(options)
        return (store, try store.task(named: "main"))
    }

    /// Maps, which fails where mapping fills, and reads; both must answer the same.
    private func read(_ task: VMTask, _ object: ManagedObject, page: Int) -> VMError? {
        failure {
            let address = try task.map(size: object.size, object: object)
            _ = try task.read(address: address + UInt64(page * 4096), size: 1)
        }
    }

    @Test(arguments: everyMode)
    func noAnswer(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let kept = Mutex<[DataRequest]>([])
        let manager = TestManager { request in kept.withLock { $0.append(request) } }
        let object = try store.makeObject(size: 4 * 4096, manager: manager, attributes: .init(deadline: 0.1))
        let error = read(task, object, page: 1)
        #expect(error?.code == .memoryError)
        #expect(error?.message.contains("deadline") == true && error?.message.contains("\(object.id)") == true)
        // It answers too late.
        let late = kept.withLock { $0[0] }
        #expect(failure { try manager.give(late) }?.code == .operationTimedOut)
        try store.close()
    }

    @Test(arguments: everyMode)
    func aHungManagerHoldsUpNobodyElse(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let isFreed = Mutex(false)
        let hung = TestManager { _ in while !isFreed.withLock({ $0 }) { usleep(1000) } }
        let good = TestManager()
        let bad = try store.makeObject(size: 4096, manager: hung, attributes: .init(deadline: 20))
        let fine = try store.makeObject(size: 64 * 4096, manager: good)
        let plain = try store.createObject(named: "plain", size: 64 * 4096)
        let result = Mutex<VMError??>(nil)
        Thread {
            let error = failure {
                let address = try task.map(size: 4096, object: bad)
                _ = try task.read(address: address, size: 1)
            }
            result.withLock { $0 = .some(error) }
        }.start()
        #expect(eventually { !hung.requests.isEmpty })
        let first = try task.map(size: 64 * 4096, object: fine)
        let second = try task.map(size: 64 * 4096, object: plain)
        for page in 0..<64 {
            #expect(task.pointer(first + UInt64(page * 4096)).load(as: UInt8.self) == UInt8(page + 1))
            task.pointer(second + UInt64(page * 4096)).storeBytes(of: 1, as: UInt8.self)
        }
        try store.commit()
        #expect(result.withLock { $0 } == nil)
        isFreed.withLock { $0 = true }
        #expect(eventually { result.withLock { $0 } != nil })
        // It returned without an answer.
        #expect(result.withLock { $0 }??.code == .memoryError)
        try store.close()
    }

    /// The thread that serves faults goes on while a plain access waits for its manager.
    @Test(arguments: fillingModes)
    func aFaultThatWaitsHoldsUpNoOther(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let kept = Mutex<[DataRequest]>([])
        let slow = TestManager { request in kept.withLock { $0.append(request) } }
        let waiting = try store.makeObject(size: 4096, manager: slow, attributes: .init(deadline: 60))
        let fine = try store.makeObject(size: 64 * 4096, manager: TestManager())
        try store.createObject(named: "plain", size: 8 * 4096)
        try store.write("plain", offset: 4096, from: pieces([[9]]))
        let place = try task.map(size: 4096, object: waiting)
        let seen = Mutex<UInt8>(0)
        Thread {
            let value = task.pointer(place).load(as: UInt8.self)
            seen.withLock { $0 = value }
        }.start()
        #expect(eventually { kept.withLock { !$0.isEmpty } })
        let first = task.pointer(try task.map(size: fine.size, object: fine))
        let second = task.pointer(try task.map(size: 8 * 4096, object: try store.object(named: "plain")))
        for page in 0..<64 { #expect(first.load(fromByteOffset: page * 4096, as: UInt8.self) == UInt8(page + 1)) }
        #expect(second.load(fromByteOffset: 4096, as: UInt8.self) == 9)
        second.storeBytes(of: 1, as: UInt8.self)
        try store.commit()
        #expect(seen.withLock { $0 } == 0)
        try slow.give(kept.withLock { $0[0] })
        #expect(eventually { seen.withLock { $0 } == 1 })
        try store.close()
    }

    private func pieces(_ all: [[UInt8]]) -> () -> [UInt8]? {
        var rest = all[...]
        return { rest.popFirst() }
    }

    @Test(arguments: everyMode)
    func aPageThatCannotBeGiven(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let isMended = Mutex(false)
        let manager = Mutex<TestManager?>(nil)
        let made = TestManager { request in
            let bad = UInt64(3 * 4096)
            if !isMended.withLock({ $0 }), request.offset <= bad, bad < request.offset + UInt64(request.length) {
                throw Complaint("page 3 is under repair")
            }
            try manager.withLock { $0 }?.give(request)
        }
        manager.withLock { $0 = made }
        let object = try store.makeObject(size: 8 * 4096, manager: made)
        guard options.demandFill == true else {
            #expect(read(task, object, page: 0)?.message.contains("under repair") == true)
            isMended.withLock { $0 = true }
            #expect(read(task, object, page: 3) == nil)
            try store.close()
            return
        }
        let address = try task.map(size: 8 * 4096, object: object)
        #expect(try task.read(address: address + 2 * 4096, size: 1) == [3])
        let error = failure { _ = try task.read(address: address + 3 * 4096, size: 1) }
        #expect(error?.code == .memoryError && error?.message.contains("under repair") == true)
        let fault = try #require(task.lastFault(address + 3 * 4096 + 5))
        #expect(fault.object == object.id && fault.offset == 3 * 4096 && fault.code == .memoryError)
        #expect(fault.reason == "page 3 is under repair")
        #expect(task.lastFault(address) == nil)
        isMended.withLock { $0 = true }
        #expect(try task.read(address: address + 3 * 4096, size: 1) == [4])
        #expect(task.lastFault(address + 3 * 4096) == nil)
        try store.close()
    }

    @Test(arguments: everyMode)
    func wrongAnswers(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let codes = Mutex<[KernReturn?]>([])
        for extra in [-1, 1, 4096] {
            let manager = TestManager { request in
                let bytes = [UInt8](repeating: 1, count: request.length + extra)
                let index = codes.withLock { codes in
                    codes.append(nil)
                    return codes.count - 1
                }
                let error = failure { try request.supply(bytes) }
                codes.withLock { $0[index] = error?.code }
            }
            let object = try store.makeObject(size: 16 * 4096, manager: manager, attributes: .init(clusterPages: 4))
            let error = read(task, object, page: 5)
            #expect(error?.code == .memoryError && error?.message.contains("were asked for") == true)
        }
        // The reader is told before the manager is.
        #expect(eventually { codes.withLock { $0.allSatisfy { $0 == .invalidArgument } && !$0.isEmpty } })
        let twice = TestManager { request in
            try request.unavailable()
            let error = failure { try request.supply([UInt8](repeating: 1, count: request.length)) }
            codes.withLock { $0 = [error?.code] }
        }
        let object = try store.makeObject(size: 4096, manager: twice)
        let address = try task.map(size: 4096, object: object)
        #expect(try task.read(address: address, size: 1) == [0])
        #expect(eventually { codes.withLock { $0 == [.operationTimedOut] } })
        try store.close()
    }

    @Test(arguments: everyMode)
    func aThreadThatExits(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let manager = TestManager { _ in pthread_exit(nil) }
        let object = try store.makeObject(size: 4096, manager: manager, attributes: .init(deadline: 60))
        let error = read(task, object, page: 0)
        #expect(error?.code == .memoryError && error?.message.contains("exited") == true)
        #expect(failure { try task.map(size: 4096, object: object) }?.code == .invalidObject)
        let good = try store.makeObject(size: 4096, manager: TestManager())
        #expect(read(task, good, page: 0) == nil)
        try store.close()
    }

    @Test func initializationThatFails() throws {
        let (store, task) = try open()
        let thrower = TestManager(onInitialize: { throw Complaint("no ink") })
        let refused = try store.makeObject(size: 4096, manager: thrower)
        let error = failure { try task.map(size: 4096, object: refused) }
        #expect(error?.code == .invalidObject && error?.message.contains("no ink") == true)
        let isFreed = Mutex(false)
        let hung = TestManager(onInitialize: { while !isFreed.withLock({ $0 }) { usleep(1000) } })
        let late = try store.makeObject(size: 4096, manager: hung, attributes: .init(deadline: 0.1))
        #expect(failure { try task.map(size: 4096, object: late) }?.code == .invalidObject)
        #expect(hung.requests.isEmpty)
        isFreed.withLock { $0 = true }
        #expect(eventually { failure { try task.map(size: 4096, object: late) } == nil })
        try store.close()
        #expect(!thrower.events.withLock { $0.contains(.terminate) })
    }

    @Test(arguments: everyMode)
    func destroyedWhileMapped(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let manager = TestManager()
        let object = try store.makeObject(size: 8 * 4096, manager: manager)
        let address = try task.map(size: 8 * 4096, object: object)
        task.pointer(address).storeBytes(of: 5, as: UInt8.self)
        try object.control.destroy(reason: "the disk is gone")
        let error = failure { _ = try task.read(address: address, size: 1) }
        #expect(error?.code == .memoryFailure && error?.message.contains("the disk is gone") == true)
        let written = failure { try [UInt8(1)].withUnsafeBytes { try task.write(address: address, $0) } }
        #expect(written?.code == .memoryFailure)
        let fault = try #require(task.lastFault(address + 4096))
        #expect(fault.code == .memoryFailure && fault.reason == "the disk is gone" && fault.offset == 4096)
        #expect(failure { try task.map(size: 4096, object: object) }?.code == .invalidObject)
        try object.control.destroy(reason: "again")
        try store.commit()
        #expect(manager.returns.isEmpty)
        try task.protect(address: address, size: 4096, .read)
        try task.deallocate(address: address, size: 2 * 4096)
        let again = try task.map(address: address, size: 4096, anywhere: false)
        task.pointer(again).storeBytes(of: 1, as: UInt8.self)
        try store.close()
    }

    @Test func plainAccessesRaiseSIGBUS() async {
        await #expect(processExitsWith: .signal(SIGBUS)) {
            quietEnd()
            let fixture = StoreFixture()
            try fixture.create()
            let store = try fixture.open()
            let task = try store.task(named: "main")
            let object = try store.makeObject(size: 4096, manager: TestManager())
            let address = try task.map(size: 4096, object: object)
            _ = task.pointer(address).load(as: UInt8.self)
            try object.control.destroy(reason: "test")
            _ = task.pointer(address).load(as: UInt8.self)
        }
        guard HostCapabilities.current.demandFaults else { return }
        await #expect(processExitsWith: .signal(SIGBUS)) {
            quietEnd()
            let fixture = StoreFixture()
            try fixture.create()
            let store = try fixture.open()
            let task = try store.task(named: "main")
            let manager = TestManager { _ in throw Complaint("never") }
            let object = try store.makeObject(size: 4096, manager: manager)
            let address = try task.map(size: 4096, object: object)
            _ = task.pointer(address).load(as: UInt8.self)
        }
    }

    @Test(arguments: fillingModes)
    func terminatedWhileMapped(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let manager = TestManager()
        let object = try store.makeObject(size: 8 * 4096, manager: manager, attributes: .init(clusterPages: 1))
        let address = try task.map(size: 8 * 4096, object: object)
        task.pointer(address).storeBytes(of: 5, as: UInt8.self)
        try store.commit()
        object.terminate()
        #expect(manager.waits(for: .terminate))
        #expect(task.pointer(address).load(as: UInt8.self) == 5)
        let error = failure { _ = try task.read(address: address + 4096, size: 1) }
        #expect(error?.code == .memoryError && error?.message.contains("terminated") == true)
        #expect(failure { try task.map(size: 4096, object: object) }?.code == .invalidObject)
        // Nobody takes what is stored now: a commit says so, once.
        task.pointer(address).storeBytes(of: 6, as: UInt8.self)
        #expect { try store.commit() } throws: { ($0 as? StoreError)?.code == .notReturned }
        try store.commit()
        #expect(manager.events.withLock { $0.last } == .terminate)
        try store.close()
    }

    @Test(arguments: everyMode)
    func returnsThatFail(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let isBroken = Mutex(true)
        let manager = TestManager(onReturn: { _ in
            if isBroken.withLock({ $0 }) { throw Complaint("out of paper") }
        })
        let object = try store.makeObject(size: 4 * 4096, manager: manager)
        let address = try task.map(size: 4 * 4096, object: object)
        let plain = try store.createObject(named: "plain", size: 4096)
        let words = try task.map(size: 4096, object: plain)
        task.pointer(address).storeBytes(of: 5, as: UInt8.self)
        task.pointer(address + 4096).storeBytes(of: 6, as: UInt8.self)
        task.pointer(words).storeBytes(of: 7, as: UInt8.self)
        #expect { try store.commit() } throws: {
            ($0 as? StoreError)?.code == .notReturned && "\($0)".contains("out of paper")
        }
        // The store's version stands.
        #expect(try !store.hasUncommittedChanges())
        #expect(try store.mapState(.init(name: "plain")).withBytes { $0[0] } == 7)
        // What was committed is not given up, and is older than what is stored now.
        task.pointer(address).storeBytes(of: 8, as: UInt8.self)
        try store.abandon()
        #expect(task.pointer(address).load(as: UInt8.self) == 5 && task.pointer(address + 4096).load(as: UInt8.self) == 6)
        task.pointer(address).storeBytes(of: 9, as: UInt8.self)
        #expect { try store.commit() } throws: { ($0 as? StoreError)?.code == .notReturned }
        isBroken.withLock { $0 = false }
        try store.commit()
        #expect(manager.pages.withLock { $0[0]?[0] } == 9 && manager.pages.withLock { $0[4096]?[0] } == 6)
        let count = manager.returns.count
        try store.commit()
        #expect(manager.returns.count == count)
        try store.close()
    }

    @Test func aReturnThatTakesTooLong() throws {
        let (store, task) = try open()
        let isFreed = Mutex(false)
        let manager = TestManager(onReturn: { _ in while !isFreed.withLock({ $0 }) { usleep(1000) } })
        let object = try store.makeObject(size: 4096, manager: manager)
        let address = try task.map(size: 4096, object: object)
        task.pointer(address).storeBytes(of: 5, as: UInt8.self)
        try object.control.changeAttributes(.init(deadline: 0.1))
        #expect { try store.commit() } throws: {
            ($0 as? StoreError)?.code == .notReturned && "\($0)".contains("deadline")
        }
        isFreed.withLock { $0 = true }
        // It was taken after all.
        #expect(eventually { manager.pages.withLock { $0[0]?[0] } == 5 })
        #expect(eventually { (try? store.commit()) != nil })
        try store.close()
    }

    @Test func requestsThatAreLetGoOf() throws {
        let (store, task) = try open()
        let object = try store.makeObject(size: 4096, manager: TestManager { _ in }, attributes: .init(deadline: 60))
        let error = read(task, object, page: 0)
        #expect(error?.code == .memoryError && error?.message.contains("let go") == true)
        try store.close()
    }

    @Test(arguments: everyMode)
    func closingWithRequestsUnderWay(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let kept = Mutex<[DataRequest]>([])
        let manager = TestManager { request in kept.withLock { $0.append(request) } }
        let object = try store.makeObject(size: 4096, manager: manager, attributes: .init(deadline: 60))
        let ended = Mutex<VMError??>(nil)
        Thread {
            let error = failure {
                let address = try task.map(size: 4096, object: object)
                _ = try task.read(address: address, size: 1)
            }
            ended.withLock { $0 = .some(error) }
        }.start()
        #expect(eventually { kept.withLock { !$0.isEmpty } })
        try store.close()
        #expect(eventually { ended.withLock { $0 } != nil })
        #expect(ended.withLock { $0 }??.code != nil)
    }
}
