import Foundation
import Glibc
import TestSupport
import Testing
import Varve

/// Objects that several processes map: what one stores, all see, and commits hold.
@Suite struct ServeTests {
    let fixture = StoreFixture()

    /// A store with the object `a` of `pages` pages, each with its number in it, committed and mapped.
    private func served(pages: Int, _ options: Store.OpenOptions = .init()) throws -> (store: Store, task: VMTask, address: UInt64) {
        try fixture.create()
        let store = try fixture.open(options)
        let task = try store.task(named: "main")
        let size = UInt64(pages * 4096)
        let address = try task.map(size: size, object: try store.createObject(named: "a", size: size))
        for page in 0..<pages { task.pointer(address + UInt64(page * 4096)).storeBytes(of: page, as: Int.self) }
        try store.commit()
        return (store, task, address)
    }

    @Test(.timeLimit(.minutes(5)), arguments: everyMode)
    func twoProcessesSeeEachOthersStores(_ options: Store.OpenOptions) async throws {
        let (store, task, address) = try served(pages: 64, options)
        task.pointer(address).storeBytes(of: 11, as: Int.self)
        let answered = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            while task.pointer(address + 8).load(as: Int.self) != 22 { usleep(1000) }
            task.pointer(address + 16).storeBytes(of: 33, as: Int.self)
            answered.signal()
        }
        let path: String = fixture.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            quietEnd()
            let remote = try RemoteStore.connect(path)
            let object = try remote.object(named: "a")
            #expect(object.size == 64 * 4096 && object.rights == .default)
            let task = try remote.task()
            let address = try task.map(size: 64 * 4096, object: object, maximum: .default)
            #expect(task.pointer(address).load(as: Int.self) == 11)
            for page in 1..<64 { #expect(task.pointer(address + UInt64(page * 4096)).load(as: Int.self) == page) }
            task.pointer(address + 8).storeBytes(of: 22, as: Int.self)
            while task.pointer(address + 16).load(as: Int.self) != 33 { usleep(1000) }
            task.pointer(address + 63 * 4096).storeBytes(of: 44, as: Int.self)
            try remote.commit(message: "from afar")
            try remote.createSnapshot("s")
            #expect { try remote.createSnapshot("s") } throws: { ($0 as? StoreError)?.code == .exists }
        }
        answered.wait()
        #expect(try store.snapshots().map(\.name) == ["s"])
        #expect(try store.log(limit: 2).map(\.message).contains("from afar"))
        try store.close()
        let again = try fixture.open(options)
        let bytes = try again.mapState(.init(name: "a", state: .snapshot("s")))
        bytes.withBytes { bytes in
            #expect((0..<3).map { bytes.load(fromByteOffset: $0 * 8, as: Int.self) } == [11, 22, 33])
            #expect(bytes.load(fromByteOffset: 63 * 4096, as: Int.self) == 44)
        }
        try again.close()
    }

    @Test(.timeLimit(.minutes(5)), arguments: everyMode)
    func aCommitHoldsWhatAProcessStoredThatIsGoneAndNothingElse(_ options: Store.OpenOptions) async throws {
        let (store, task, address) = try served(pages: 2000, options)
        let path: String = fixture.path
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            quietEnd()
            let remote = try RemoteStore.connect(path)
            let task = try remote.task()
            let address = try task.map(size: 2000 * 4096, object: try remote.object(named: "a"), maximum: .default)
            // The same bytes once more are no change.
            for page in 0..<2000 { task.pointer(address + UInt64(page * 4096)).storeBytes(of: page, as: Int.self) }
            task.pointer(address + 7 * 4096).storeBytes(of: 1, as: Int.self)
            task.pointer(address + 1999 * 4096 + 100).storeBytes(of: 2, as: UInt8.self)
            kill(getpid(), SIGKILL)
        }
        #expect(try store.hasUncommittedChanges())
        let version = try store.commit(message: "theirs")
        let entry = try #require(try store.log(limit: 1).first)
        #expect(entry.version == version && entry.pages == 2)
        #expect(task.pointer(address + 7 * 4096).load(as: Int.self) == 1)
        #expect(try !store.hasUncommittedChanges())
        #expect(try store.commit() == version)
        for _ in 0..<2000 where store.attachments.processes > 0 { usleep(1000) }
        #expect(store.attachments == (0, 0))
        try store.close()
    }

    @Test(.timeLimit(.minutes(5)))
    func abandoningTakesAnothersStoresBack() async throws {
        let (store, task, address) = try served(pages: 8)
        let path: String = fixture.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            quietEnd()
            let remote = try RemoteStore.connect(path)
            let task = try remote.task()
            let address = try task.map(size: 8 * 4096, object: try remote.object(named: "a"), maximum: .default)
            task.pointer(address + 4096).storeBytes(of: 99, as: Int.self)
        }
        #expect(task.pointer(address + 4096).load(as: Int.self) == 99)
        try store.abandon()
        #expect(task.pointer(address + 4096).load(as: Int.self) == 1)
        #expect(try !store.hasUncommittedChanges())
        try store.close()
    }

    @Test(.timeLimit(.minutes(5)))
    func anObjectThatOnlyOthersMapIsCommittedAndLetGo() async throws {
        try fixture.create()
        let store = try fixture.open()
        try store.createObject(named: "b", size: 10_000)
        let path: String = fixture.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            quietEnd()
            let remote = try RemoteStore.connect(path)
            let task = try remote.task()
            let address = try task.map(size: 10_000, object: try remote.object(named: "b"), maximum: .default)
            for byte in 0..<10_000 { task.pointer(address + UInt64(byte)).storeBytes(of: UInt8(truncatingIfNeeded: byte), as: UInt8.self) }
        }
        for _ in 0..<2000 where store.attachments.processes > 0 { usleep(1000) }
        try store.commit()
        try store.commit()
        try store.resizeObject("b", to: 9_000)
        var bytes = [UInt8](repeating: 0, count: 9_000)
        _ = try bytes.withUnsafeMutableBytes { try store.read(.init(name: "b"), offset: 0, into: $0) }
        #expect(bytes == (0..<9_000).map { UInt8(truncatingIfNeeded: $0) })
        try store.close()
    }

    @Test(.timeLimit(.minutes(5)))
    func aPortToReadIsEnforcedByTheKernel() async throws {
        let (store, _, _) = try served(pages: 4)
        let path: String = fixture.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            quietEnd()
            let remote = try RemoteStore.connect(path)
            let object = try remote.object(named: "a", rights: .read)
            let task = try remote.task()
            #expect(throws: VMError.self) { try task.map(size: 4096, object: object) }
            #expect { try task.map(size: 4096, object: object, current: .read) } throws: {
                ($0 as? VMError)?.code == .protectionFailure
            }
            let address = try task.map(size: 4 * 4096, object: object, current: .read, maximum: .read)
            #expect(task.pointer(address + 3 * 4096).load(as: Int.self) == 3)
            #expect { try task.protect(address: address, size: 4096, .default) } throws: {
                ($0 as? VMError)?.code == .protectionFailure
            }
            #expect(mprotect(task.pointer(address), 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES)
            // A private copy needs read alone.
            let copy = try task.map(size: 4096, object: object, copy: true)
            task.pointer(copy).storeBytes(of: 5, as: Int.self)
            #expect(task.pointer(address).load(as: Int.self) == 0)
        }
        await #expect(processExitsWith: .signal(SIGSEGV)) { [path = path as String] in
            quietEnd()
            let remote = try RemoteStore.connect(path)
            let task = try remote.task()
            let address = try task.map(
                size: 4096, object: try remote.object(named: "a", rights: .read), current: .read, maximum: .read)
            task.pointer(address).storeBytes(of: 1, as: Int.self)
        }
        #expect(try !store.hasUncommittedChanges())
        try store.close()
    }

    @Test(.timeLimit(.minutes(5)))
    func whatCannotBeSharedIsRefusedWithItsReason() async throws {
        let (store, task, _) = try served(pages: 1)
        try store.createObject(named: "heap", size: 4096, residency: .exclusive)
        let nameless = try task.allocate(size: 4096)
        try store.commit()
        let id = try #require(task.entries.first { $0.start == nameless }?.backing.object)
        let path: String = fixture.path, number: UInt64 = id.rawValue
        await #expect(processExitsWith: .success) { [path = path as String, number = number as UInt64] in
            quietEnd()
            let remote = try RemoteStore.connect(path)
            func code(_ name: String, _ rights: Protection = .default) -> StoreError.Code? {
                do { _ = try remote.object(named: name, rights: rights) } catch { return error.code }
                return nil
            }
            #expect(code("nothing") == .notFound)
            #expect(code("heap") == .unsupported)
            #expect(code("#\(number)") == .unsupported)
            #expect(code("a", .none) == .invalid)
            #expect(code("a", .read) == nil)
            #expect(remote.isConnected)
        }
        try store.close()
    }

    @Test(.timeLimit(.minutes(5)))
    func theCallsOfATaskHaveTheirCodes() throws {
        let (store, _, _) = try served(pages: 4)
        let remote = try RemoteStore.connect(fixture.path)
        let object = try remote.object(named: "a")
        let task = try remote.task(windowSize: 1 << 20)
        func code(_ body: () throws(VMError) -> Void) -> KernReturn {
            do throws(VMError) { try body() } catch { return error.code }
            return .success
        }
        #expect(code { () throws(VMError) in try task.map(size: 0) } == .invalidArgument)
        #expect(code { () throws(VMError) in try task.map(size: 2 << 20) } == .noSpace)
        #expect(code { () throws(VMError) in try task.map(size: 4096, object: object) } == .protectionFailure)
        #expect(code { () throws(VMError) in try task.map(size: 4096, object: object, offset: 1, maximum: .default) } == .invalidArgument)
        #expect(code { () throws(VMError) in try task.map(address: 4096, size: 1, anywhere: false) } == .invalidAddress)
        let address = try task.map(size: 8 * 4096, object: object, maximum: .default)
        #expect(code { () throws(VMError) in try task.map(address: address, size: 1, anywhere: false) } == .noSpace)
        #expect(code { () throws(VMError) in try task.protect(address: address, size: 9 * 4096, .read) } == .invalidAddress)
        try task.protect(address: address + 4096, size: 4096, .read)
        #expect(task.entries.map(\.length) == [4096, 4096, 6 * 4096])
        try task.inherit(address: address, size: 4096, .share)
        let region = try task.region(0)
        #expect(region.start == address && region.size == 4096 && region.inheritance == .share && region.object == object.id)
        #expect(region.isShared && region.residentPages == 1)
        try task.deallocate(address: address, size: 4096)
        #expect(try task.region(0).start == address + 4096)
        #expect(task.pointer(address + 4096).load(as: Int.self) == 1)
        let own = try task.allocate(size: 3 * 4096)
        task.pointer(own).storeBytes(of: 7, as: Int.self)
        #expect(task.pointer(own).load(as: Int.self) == 7)
        try task.terminate()
        #expect(code { () throws(VMError) in try task.allocate(size: 1) } == .terminated)
        remote.close()
        #expect { try remote.object(named: "a") } throws: { ($0 as? StoreError)?.code == .io }
        try store.close()
    }

    @Test(.timeLimit(.minutes(5)))
    func aServerThatEndsLeavesMemoryAndAClearError() throws {
        let (store, _, _) = try served(pages: 4)
        let remote = try RemoteStore.connect(fixture.path)
        let task = try remote.task()
        let address = try task.map(size: 4 * 4096, object: try remote.object(named: "a"), maximum: .default)
        try store.close()
        #expect { try remote.object(named: "a") } throws: { ($0 as? StoreError)?.code == .io }
        #expect(!remote.isConnected)
        #expect { try remote.commit() } throws: { ($0 as? StoreError)?.code == .io }
        #expect(task.pointer(address + 3 * 4096).load(as: Int.self) == 3)
        task.pointer(address).storeBytes(of: 5, as: Int.self)
        #expect { try RemoteStore.connect(fixture.path) } throws: { ($0 as? StoreError)?.code == .noStore }
        #expect { try RemoteStore.connect(fixture.path + "-none") } throws: { ($0 as? StoreError)?.code == .noStore }
    }

    @Test(.timeLimit(.minutes(5)))
    func aServerThatDoesNotAnswerIsGivenUpOn() throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/control"
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8.prefix(107))) }
        let silent = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(silent) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(silent, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        try #require(bound == 0 && listen(silent, 4) == 0)
        #expect { try RemoteStore.connect(folder.path, patience: .seconds(1)) } throws: {
            ($0 as? StoreError)?.code == .io && ($0 as? StoreError)?.errno == ETIMEDOUT
        }
    }
}
