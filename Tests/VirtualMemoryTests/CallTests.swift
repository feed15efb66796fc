import TestSupport
import Testing
import Varve

/// The vm_* calls' codes, roundings and order of checks.
@Suite struct CallTests {
    let fixture = StoreFixture()
    let store: Store
    let task: VMTask
    let base: UInt64

    init() throws {
        try fixture.create()
        store = try fixture.open()
        task = try store.task(named: "main")
        base = task.windowBase
        try store.commit()
    }

    private func code(_ body: () throws -> Void) -> KernReturn {
        do {
            try body()
            return .success
        } catch let error as VMError { return error.code } catch {
            Issue.record("\(error)")
            return .failure
        }
    }

    /// The code, after checking that a failing call changed nothing.
    private func refused(_ body: () throws -> Void) throws -> KernReturn {
        let before = task.entries
        let dirty = try store.hasUncommittedChanges()
        let result = code(body)
        #expect(task.entries == before)
        #expect(try store.hasUncommittedChanges() == dirty)
        return result
    }

    @Test func mapRoundsAddressAndSizeIndependently() throws {
        #expect(try task.map(address: base + 4095, size: 2, anywhere: false) == base)
        #expect(task.entries.map(\.range) == [base..<base + 4096])
        try store.close()
    }

    @Test func mapRefusesSizesThatAreZeroOrWrap() throws {
        #expect(try refused { try task.map(size: 0) } == .invalidArgument)
        #expect(try refused { try task.map(size: .max) } == .invalidArgument)
        #expect(try refused { try task.map(address: .max - 4095, size: 8192, anywhere: false) } == .invalidArgument)
        #expect(try refused { try task.map(size: 4096, offset: .max - 4095) } == .invalidArgument)
        try store.close()
    }

    @Test func mapChecksInOrder() throws {
        let bad = Protection(rawValue: 8)
        let object = try store.createObject(named: "a", size: 4096)
        let dead = try store.createObject(named: "b", size: 4096)
        try store.deleteObject("b")
        try task.map(address: base, size: 4096, anywhere: false)
        try store.commit()
        // Protection bits before the size, the size before the offset, the offset before the object, the object before
        // the place.
        #expect(try refused { try task.map(size: 0, object: dead, offset: 1, current: bad) } == .invalidArgument)
        #expect(try refused { try task.map(size: 4096, object: dead, offset: 1) } == .invalidArgument)
        #expect(try refused { try task.map(address: base, size: 4096, anywhere: false, object: dead) } == .invalidObject)
        #expect(try refused { try task.map(address: base, size: 4096, anywhere: false, object: dead, copy: true) } == .invalidObject)
        #expect(try refused { try task.map(address: base, size: 4096, anywhere: false, object: object) } == .noSpace)
        #expect(try refused { try task.map(size: 4096, object: object, current: .all, maximum: .read) } == .invalidArgument)
        try store.close()
    }

    @Test func nullObjectsHaveNoOffsetAndAreNeverCopies() throws {
        let address = try task.map(size: 4096, offset: 123, copy: true)
        let entry = try task.region(address)
        #expect(entry.offset == 0 && !entry.isCopied)
        try store.close()
    }

    @Test func fixedPlacement() throws {
        try task.map(address: base + 8192, size: 8192, anywhere: false)
        #expect(try refused { try task.map(address: base + 4096, size: 8192, anywhere: false) } == .noSpace)
        #expect(try refused { try task.map(address: base + 4096, size: 4096, mask: 4096, anywhere: false) } == .noSpace)
        #expect(try refused { try task.map(address: 4096, size: 4096, anywhere: false) } == .invalidAddress)
        #expect(try refused { try task.map(address: 0, size: 4096, anywhere: false) } == .invalidAddress)
        #expect(try refused { try task.map(address: base + task.windowSize - 4096, size: 8192, anywhere: false) } == .invalidAddress)
        // Touching neighbours is fine.
        #expect(code { try task.map(address: base + 4096, size: 4096, anywhere: false) } == .success)
        #expect(code { try task.map(address: base + 16384, size: 4096, anywhere: false) } == .success)
        try store.close()
    }

    @Test func anywhereTakesTheFirstFitAtOrAboveTheHint() throws {
        try task.map(address: base + 4096, size: 4096, anywhere: false)
        #expect(try task.map(address: 0, size: 8192) == base + 8192)
        #expect(try task.map(address: 0, size: 4096) == base)
        #expect(try task.map(address: base + 5 * 4096 + 5, size: 4096) == base + 5 * 4096)
        let aligned = try task.map(address: base + 1, size: 4096, mask: 0xF000)
        #expect(aligned & 0xF000 == 0)
        #expect(try refused { try task.map(address: base + task.windowSize, size: 4096) } == .noSpace)
        #expect(try refused { try task.map(size: task.windowSize + 4096) } == .noSpace)
        try store.close()
    }

    @Test func allocateOfNothingSucceedsAndWrappingIsAnInvalidAddress() throws {
        #expect(try task.allocate(size: 0) == 0)
        #expect(try refused { try task.allocate(address: .max - 4095, size: 8192, anywhere: false) } == .invalidAddress)
        let entry = try task.region(try task.allocate(size: 1))
        #expect(entry.current == .default && entry.maximum == .all && entry.inheritance == .copy)
        try store.close()
    }

    @Test func deallocateToleratesHolesAndRefusesOverflow() throws {
        #expect(code { try task.deallocate(address: base, size: 1 << 30) } == .success)
        #expect(code { try task.deallocate(address: 0, size: 0) } == .success)
        #expect(code { try task.deallocate(address: 0, size: .max - 4095) } == .success)
        #expect(try refused { try task.deallocate(address: .max, size: 2) } == .invalidArgument)
        #expect(try !store.hasUncommittedChanges())
        let address = try task.allocate(size: 8192)
        // Rounded outward.
        #expect(code { try task.deallocate(address: address + 4095, size: 2) } == .success)
        #expect(task.entries.isEmpty)
        try store.close()
    }

    @Test func protectChecksEveryEntryFirst() throws {
        let address = try task.allocate(size: 3 * 4096)
        try task.protect(address: address + 8192, size: 4096, setMaximum: true, .read)
        #expect(try task.region(address + 8192).current == .read)
        #expect(try refused { try task.protect(address: address, size: 3 * 4096, .default) } == .protectionFailure)
        #expect(try refused { try task.protect(address: address, size: 4 * 4096, .read) } == .invalidAddress)
        #expect(try refused { try task.protect(address: address, size: 4096, Protection(rawValue: 64)) } == .invalidArgument)
        #expect(try refused { try task.protect(address: .max, size: 4096, .read) } == .invalidArgument)
        #expect(code { try task.protect(address: 0, size: 0, .read) } == .success)
        #expect(try refused { try task.protect(address: address + 8192, size: 4096, setMaximum: true, .all) } == .protectionFailure)
        task.pointer(address).storeBytes(of: 1, as: Int.self)
        try store.close()
    }

    @Test func inheritToleratesHoles() throws {
        let address = try task.allocate(size: 4 * 4096)
        #expect(code { try task.inherit(address: address + 8192, size: 1 << 20, .none) } == .success)
        #expect(task.entries.map(\.inheritance) == [.copy, .none])
        #expect(try refused { try task.inherit(address: .max, size: 2, .none) } == .invalidArgument)
        try store.close()
    }

    @Test func regionFindsTheNextOne() throws {
        #expect(try refused { _ = try task.region(0) } == .invalidAddress)
        let address = try task.allocate(address: base + 65536, size: 4096, anywhere: false)
        #expect(try task.region(0).start == address)
        #expect(try task.region(address + 4095).start == address)
        #expect(code { _ = try task.region(address + 4096) } == .invalidAddress)
        try store.close()
        #expect(code { _ = try task.region(0) } == .terminated)
    }

    @Test(arguments: everyMode, [0, 1, 2, 3])
    func copiesAreOfTheObjectAsItIsNow(_ options: Store.OpenOptions, _ state: Int) throws {
        let fixture = StoreFixture()
        try fixture.create()
        let store = try fixture.open(options)
        let task = try store.task(named: "main")
        let object = try store.createObject(named: "a", size: 5 * 4096 + 100)
        let source = try task.map(size: 6 * 4096, object: object)
        for page in 0..<6 { task.pointer(source + UInt64(page * 4096)).storeBytes(of: page + 1, as: Int.self) }
        try store.commit()
        for page in 2..<6 { task.pointer(source + UInt64(page * 4096)).storeBytes(of: page + 10, as: Int.self) }
        task.pointer(source + 5 * 4096 + 200).storeBytes(of: 1, as: UInt8.self)
        // Mapped; not mapped but uncommitted; mapped elsewhere in part; committed and not mapped.
        if state == 3 { try store.commit() }
        if state > 0 { try task.deallocate(address: source, size: 6 * 4096) }
        if state == 2 { try task.map(size: 4096, object: object, offset: 3 * 4096) }
        let copy = try task.map(size: 6 * 4096, object: object, offset: 4096, copy: true, current: .read)
        for page in 0..<5 {
            let word = task.pointer(copy + UInt64(page * 4096)).load(as: Int.self)
            #expect(word == (page == 0 ? 2 : page + 11))
        }
        #expect(task.pointer(copy + 4 * 4096 + 200).load(as: UInt8.self) == 0)
        #expect(try task.region(copy).isCopied)
        try task.protect(address: copy, size: 6 * 4096, .default)
        task.pointer(copy).storeBytes(of: 99, as: Int.self)
        try store.commit()
        #expect(try store.mapState(.init(name: "a")).withBytes { $0.load(fromByteOffset: 4096, as: Int.self) } == 2)
        try store.close()
        try self.store.close()
    }
}
