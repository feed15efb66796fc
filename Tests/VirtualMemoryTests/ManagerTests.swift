import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// Objects that memory managers answer for: what they are asked, and what mappings show.
@Suite struct ManagerTests {
    let fixture = StoreFixture()

    private func open(_ options: Store.OpenOptions = .init()) throws -> (store: Store, task: VMTask) {
        try fixture.create()
        let store = try fixture.open(options)
        return (store, try store.task(named: "main"))
    }

    private func byte(_ task: VMTask, _ address: UInt64) -> UInt8 { task.pointer(address).load(as: UInt8.self) }
    private func set(_ task: VMTask, _ address: UInt64, _ value: UInt8) {
        task.pointer(address).storeBytes(of: value, as: UInt8.self)
    }

    @Test(arguments: everyMode)
    func pagesComeFromTheManagerAndGoBackToIt(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let manager = TestManager()
        let object = try store.makeObject(size: 100 * 4096 - 100, manager: manager)
        let address = try task.map(size: 100 * 4096, object: object)
        for page in 0..<100 { #expect(byte(task, address + UInt64(page * 4096)) == UInt8(page + 1)) }
        // The last page ends with the object; the rest of it reads as zeros.
        #expect(byte(task, address + 100 * 4096 - 101) == 100 && byte(task, address + 100 * 4096 - 100) == 0)
        set(task, address + 5 * 4096, 200)
        set(task, address + 99 * 4096, 201)
        let before = try store.commit()
        #expect(manager.pages.withLock { $0[5 * 4096]?[0] } == 200 && manager.pages.withLock { $0[99 * 4096]?[0] } == 201)
        set(task, address + 7 * 4096, 202)
        try store.commit()
        #expect(manager.returns.last == .returned(version: before, offsets: [7 * 4096]))
        #expect(manager.pages.withLock { $0[7 * 4096]?[0] } == 202)
        #expect(manager.events.withLock { $0.first } == .initialize)
        #expect(manager.events.withLock { $0.filter { $0 == .initialize }.count } == 1)
        try store.close()
        #expect(manager.waits(for: .terminate))
        #expect(manager.events.withLock { $0.last } == .terminate)
    }

    @Test(arguments: everyMode)
    func returnsFollowTheCommitThatTookThem(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let manager = TestManager()
        let object = try store.makeObject(size: 4 * 4096, manager: manager)
        let address = try task.map(size: 4 * 4096, object: object)
        let plain = try task.allocate(size: 4096)
        var versions: [Version] = []
        for round in 1...3 {
            set(task, plain, UInt8(round))
            set(task, address + 4096, UInt8(100 + round))
            versions.append(try store.commit())
        }
        let told = manager.returns.map { event in if case .returned(let version, _) = event { version } else { Version.zero } }
        #expect(told == versions && versions == versions.sorted() && Set(versions).count == 3)
        try store.close()
    }

    @Test func manyThreadsAndOneAnswer() throws {
        for mode in fillingModes {
            let fixture = StoreFixture()
            try fixture.create()
            let store = try fixture.open(mode)
            let task = try store.task(named: "main")
            let kept = Mutex<[DataRequest]>([])
            let made = Mutex<TestManager?>(nil)
            // A thread that finds its page absent while the answer is being placed asks again.
            let manager = TestManager { request in
                let isFirst = kept.withLock { kept in
                    kept.append(request)
                    return kept.count == 1
                }
                if !isFirst { try made.withLock { $0 }?.give(request) }
            }
            made.withLock { $0 = manager }
            let object = try store.makeObject(size: 16 * 4096, manager: manager, attributes: .init(clusterPages: 16))
            let address = try task.map(size: 16 * 4096, object: object)
            let other = try task.map(size: 16 * 4096, object: object)
            let seen = Mutex<[UInt8]>([])
            let threads = (0..<8).map { index in
                let thread = Thread {
                    let base = index % 2 == 0 ? address : other
                    let value = task.pointer(base + UInt64(index) * 4096).load(as: UInt8.self)
                    seen.withLock { $0.append(value) }
                }
                thread.start()
                return thread
            }
            #expect(threads.count == 8)
            #expect(eventually { kept.withLock { !$0.isEmpty } })
            usleep(50_000)
            #expect(kept.withLock { $0.count } == 1)
            try manager.give(kept.withLock { $0[0] })
            #expect(eventually { seen.withLock { $0.count } == 8 })
            #expect(seen.withLock { $0.sorted() } == (1...8).map { UInt8($0) })
            #expect(manager.requests.first == .request(offset: 0, length: 16 * 4096))
            try store.close()
        }
    }

    @Test(arguments: everyMode)
    func residentPagesAreNeverOverwritten(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let manager = TestManager()
        let object = try store.makeObject(size: 32 * 4096, manager: manager, attributes: .init(clusterPages: 1))
        let address = try task.map(size: 32 * 4096, object: object)
        set(task, address + 4096, 77)
        try object.control.changeAttributes(.init(clusterPages: 32))
        #expect(byte(task, address + 2 * 4096) == 3 && byte(task, address + 4096) == 77)
        #expect(byte(task, address) == 1)
        try store.close()
    }

    @Test func regionsAreVolatile() throws {
        var (store, task) = try open()
        let manager = TestManager()
        let plain = try task.allocate(size: 4096)
        set(task, plain, 3)
        let version = try store.commit()
        let object = try store.makeObject(size: 4 * 4096, manager: manager)
        let address = try task.map(size: 4 * 4096, object: object)
        set(task, address, 9)
        // No version holds them: nothing of the store has changed.
        #expect(try !store.hasUncommittedChanges())
        #expect(try store.commit() == version)
        #expect(manager.pages.withLock { $0[0]?[0] } == 9)
        set(task, plain, 4)
        try store.commit()
        try store.close()
        store = try fixture.open()
        task = try store.task(named: "main")
        #expect(task.entries.map(\.start) == [plain] && byte(task, plain) == 4)
        #expect(try task.map(address: address, size: 4096, anywhere: false) == address)
        try store.close()
    }

    @Test(arguments: everyMode)
    func copiesNeverChange(_ options: Store.OpenOptions) throws {
        var (store, task) = try open(options)
        let manager = TestManager()
        let object = try store.makeObject(size: 40 * 4096, manager: manager)
        let address = try task.map(size: 40 * 4096, object: object)
        set(task, address + 3 * 4096, 99)
        let copy = try task.map(size: 40 * 4096, object: object, copy: true)
        let remapped = try task.remap(size: 8 * 4096, source: task, sourceAddress: address, copy: true).address
        let child = try task.createChild(named: "child")
        let inherited = address - task.windowBase + child.windowBase
        let unmapped = try store.makeObject(size: 2 * 4096, manager: manager)
        let direct = try task.map(size: 2 * 4096, object: unmapped, copy: true)
        for page in 0..<40 { set(task, address + UInt64(page * 4096), 255) }
        try store.commit()
        try object.control.destroy(reason: "test")
        func check(_ task: VMTask, _ child: VMTask) {
            for page in 0..<40 {
                let wanted = page == 3 ? 99 : UInt8(page + 1)
                #expect(byte(task, copy + UInt64(page * 4096)) == wanted)
                if page < 8 { #expect(byte(task, remapped + UInt64(page * 4096)) == wanted) }
                #expect(byte(child, inherited + UInt64(page * 4096)) == wanted)
            }
            #expect(byte(task, direct + 4096) == 2)
        }
        check(task, child)
        try store.close()
        store = try fixture.open(options)
        task = try store.task(named: "main")
        check(task, try store.task(named: "child"))
        try store.close()
    }

    @Test(arguments: everyMode)
    func abandoningBringsTheManagersBytesBack(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let manager = TestManager()
        let object = try store.makeObject(size: 4 * 4096, manager: manager)
        let address = try task.map(size: 4 * 4096, object: object)
        set(task, address, 50)
        try store.commit()
        set(task, address, 51)
        set(task, address + 4096, 52)
        try store.abandon()
        #expect(byte(task, address) == 50 && byte(task, address + 4096) == 2)
        set(task, address, 53)
        try task.sync(address: address, size: 4096, [.killPages])
        #expect(byte(task, address) == 50)
        // A region that was unmapped since the commit comes back, its manager too.
        try task.deallocate(address: address, size: 4 * 4096)
        try store.abandon()
        #expect(byte(task, address) == 50 && byte(task, address + 2 * 4096) == 3)
        #expect(manager.events.withLock { !$0.contains(.terminate) })
        try store.close()
    }

    @Test(arguments: everyMode)
    func managersReturnAndFlushPages(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let manager = TestManager()
        let object = try store.makeObject(size: 4 * 4096, manager: manager)
        let address = try task.map(size: 4 * 4096, object: object)
        set(task, address + 4096, 60)
        let control = try #require(manager.control.withLock { $0 })
        try control.lockRequest(offset: 4096, size: 1, .return)
        #expect(eventually { manager.pages.withLock { $0[4096]?[0] } == 60 })
        manager.pages.withLock { $0[4096] = [UInt8](repeating: 61, count: 4096) }
        #expect(byte(task, address + 4096) == 60)
        try control.lockRequest(offset: 0, size: 4 * 4096, .flush)
        #expect(eventually { byte(task, address + 4096) == 61 })
        set(task, address, 70)
        try control.lockRequest(offset: 0, size: 4 * 4096, [.return, .flush])
        #expect(eventually { manager.pages.withLock { $0[0]?[0] } == 70 })
        #expect(eventually { byte(task, address) == 70 })
        #expect(failure { try control.lockRequest(offset: 0, size: 5 * 4096, .flush) }?.code == .invalidArgument)
        #expect(failure { try control.changeAttributes(.init(deadline: 0)) }?.code == .invalidArgument)
        #expect(failure { try control.changeAttributes(.init(clusterPages: 3)) }?.code == .invalidArgument)
        try store.close()
    }

    @Test func rightsAndArguments() throws {
        let (store, task) = try open()
        let manager = TestManager()
        let object = try store.makeObject(size: 4096, manager: manager, rights: .read)
        #expect(failure { try task.map(size: 4096, object: object) }?.code == .protectionFailure)
        let address = try task.map(size: 4096, object: object, current: .read, maximum: .read)
        #expect(byte(task, address) == 1)
        let whole = try store.makeObject(size: 4096, manager: manager)
        #expect(failure { try task.map(size: 4096, object: whole.port(rights: .read)) }?.code == .protectionFailure)
        #expect(failure { _ = try store.makeObject(size: 0, manager: manager) }?.code == .invalidArgument)
        let other = StoreFixture()
        try other.create()
        let second = try other.open()
        #expect(failure { try second.task(named: "main").map(size: 4096, object: whole) }?.code == .invalidObject)
        try second.close()
        try store.close()
    }

    @Test func theObjectEndsWithItsLastUse() throws {
        let (store, task) = try open()
        let manager = TestManager()
        var object: ManagedObject? = try store.makeObject(size: 4096, manager: manager)
        let address = try task.map(size: 4096, object: object)
        object = nil
        try store.commit()
        #expect(byte(task, address) == 1)
        set(task, address, 8)
        try task.deallocate(address: address, size: 4096)
        #expect(manager.events.withLock { !$0.contains(.terminate) })
        try store.commit()
        try store.commit()
        #expect(manager.waits(for: .terminate))
        #expect(manager.pages.withLock { $0[0]?[0] } == 8)
        #expect(manager.events.withLock { $0.last } == .terminate)
        try store.close()
    }

    @Test(arguments: everyMode)
    func aManagerMayCallTheStore(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let source = try store.createObject(named: "source", size: 8 * 4096)
        let other = try store.task(named: "pager")
        let base = try other.map(size: 8 * 4096, object: source)
        for page in 0..<8 { set(other, base + UInt64(page * 4096), UInt8(page + 30)) }
        let manager = TestManager { request in
            try request.supply(try other.read(address: base + request.offset, size: UInt64(request.length)))
        }
        let object = try store.makeObject(size: 8 * 4096, manager: manager, attributes: .init(clusterPages: 2))
        let address = try task.map(size: 8 * 4096, object: object)
        #expect(try task.read(address: address + 7 * 4096, size: 1) == [37])
        #expect(byte(task, address + 2 * 4096) == 32)
        try store.close()
    }
}
