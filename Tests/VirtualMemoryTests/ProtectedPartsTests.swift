import Glibc
import TestSupport
import Testing
import Varve

/// Regions whose parts have other protections than the whole: one mapping, several entries.
@Suite struct ProtectedPartsTests {
    let fixture = StoreFixture()

    private func pages(_ store: Store, _ count: Int, named name: String = "a") throws -> (task: VMTask, address: UInt64) {
        let object = try store.createObject(named: name, size: UInt64(count * 4096))
        let task = try store.task(named: "main")
        return (task, try task.map(size: UInt64(count * 4096), object: object))
    }

    @Test(arguments: everyMode)
    func aRegionProtectedInPartIsWholeAfterReopening(_ options: Store.OpenOptions) throws {
        try fixture.create()
        var store = try fixture.open(options)
        var (task, address) = try pages(store, 9)
        for page in 0..<9 { task.pointer(address + UInt64(page) * 4096).storeBytes(of: page + 1, as: Int.self) }
        try task.protect(address: address + 3 * 4096, size: 2 * 4096, .read)
        try task.inherit(address: address + 7 * 4096, size: 4096, .none)
        try store.commit()
        #expect(task.entries.count == 5)
        try store.close()

        store = try fixture.open(options)
        task = try store.task(named: "main")
        #expect(task.entries.count == 5)
        for page in 0..<9 { #expect(task.pointer(address + UInt64(page) * 4096).load(as: Int.self) == page + 1) }
        for page in [0, 2, 5, 8] { task.pointer(address + UInt64(page) * 4096).storeBytes(of: -page, as: Int.self) }
        try store.commit()
        try store.close()
        store = try fixture.open(options)
        task = try store.task(named: "main")
        for page in [0, 2, 5, 8] { #expect(task.pointer(address + UInt64(page) * 4096).load(as: Int.self) == -page) }
        try store.close()
    }

    @Test(arguments: everyMode)
    func abandoningAProtectionLeavesTheRegionWhole(_ options: Store.OpenOptions) throws {
        try fixture.create()
        let store = try fixture.open(options)
        let (task, address) = try pages(store, 9)
        for page in 0..<9 { task.pointer(address + UInt64(page) * 4096).storeBytes(of: page + 1, as: Int.self) }
        try task.protect(address: address + 3 * 4096, size: 2 * 4096, .read)
        try store.commit()
        // Back to one entry, then abandoned; then into pieces, and abandoned.
        for part in [(3, 2, Protection.default), (1, 7, .none)] {
            try task.protect(address: address + UInt64(part.0 * 4096), size: UInt64(part.1 * 4096), part.2)
            task.pointer(address).storeBytes(of: 77, as: Int.self)
            try store.abandon()
            #expect(task.entries.count == 3)
            #expect(try !store.hasUncommittedChanges())
            for page in 0..<9 { #expect(task.pointer(address + UInt64(page) * 4096).load(as: Int.self) == page + 1) }
            task.pointer(address + 8 * 4096).storeBytes(of: 9, as: Int.self)
        }
        try store.close()
    }

    @Test func deallocatingAPieceThatProtectionMadeLeavesTheRest() throws {
        try fixture.create()
        let store = try fixture.open()
        let (task, address) = try pages(store, 9)
        try task.protect(address: address + 3 * 4096, size: 2 * 4096, .read)
        try task.deallocate(address: address + 3 * 4096, size: 2 * 4096)
        task.pointer(address).storeBytes(of: 1, as: Int.self)
        task.pointer(address + 8 * 4096).storeBytes(of: 1, as: Int.self)
        try task.deallocate(address: address, size: 9 * 4096)
        #expect(task.entries.isEmpty)
        try store.close()
    }

    @Test(arguments: everyMode)
    func dirtyPagesThatMayNotBeReadAreCommitted(_ options: Store.OpenOptions) throws {
        try fixture.create()
        var store = try fixture.open(options)
        var (task, address) = try pages(store, 40)
        for page in 0..<40 { task.pointer(address + UInt64(page) * 4096).storeBytes(of: page + 1, as: Int.self) }
        try task.protect(address: address, size: 20 * 4096, .none)
        try store.commit()
        try store.close()
        store = try fixture.open(options)
        task = try store.task(named: "main")
        try task.protect(address: address, size: 20 * 4096, .read)
        for page in 0..<40 { #expect(task.pointer(address + UInt64(page) * 4096).load(as: Int.self) == page + 1) }
        try store.close()
    }

    @Test func protectionIsEnforcedAfterReopening() async throws {
        try fixture.create()
        let store = try fixture.open()
        let (task, address) = try pages(store, 4)
        try task.protect(address: address + 4096, size: 4096, .read)
        try store.commit()
        try store.close()
        let path = fixture.path
        await #expect(processExitsWith: .signal(SIGSEGV)) { [path = path as String, address = address as UInt64] in
            quietEnd()
            let store = try Store.open(path)
            let task = try store.task(named: "main")
            task.pointer(address).storeBytes(of: 1, as: Int.self)
            task.pointer(address + 4096).storeBytes(of: 1, as: Int.self)
        }
    }

    @Test func anAccessBeyondTheObjectsEndRaisesSIGBUS() async throws {
        try fixture.create()
        let path = fixture.path
        await #expect(processExitsWith: .signal(SIGBUS)) { [path = path as String] in
            quietEnd()
            let store = try Store.open(path)
            let object = try store.createObject(named: "short", size: 4097)
            let task = try store.task(named: "main")
            let address = try task.map(size: 4 * 4096, object: object)
            task.pointer(address + 2 * 4096 - 1).storeBytes(of: 1, as: UInt8.self)
            _ = task.pointer(address + 2 * 4096).load(as: UInt8.self)
        }
    }
}
