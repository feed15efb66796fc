import TestSupport
import Testing
import Varve

/// vm_read, vm_write, vm_copy, vm_msync, vm_behavior_set, vm_wire, vm_map_page_query.
@Suite struct SemanticsBytesTests {
    let bench: Bench
    let page = Bench.page
    var task: VMTask { bench.task }
    var base: UInt64 { bench.base }

    init() throws { bench = try Bench() }

    private func write(_ address: UInt64, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try task.write(address: address, $0) }
    }

    @Test func theWholeRangeIsCheckedBeforeAByteMoves() throws {
        try task.map(address: base, size: 3 * page, anywhere: false)
        try task.map(address: base + 3 * page, size: page, anywhere: false, current: .read)
        try task.map(address: base + 4 * page, size: page, anywhere: false, current: .write)
        try task.map(address: base + 6 * page, size: page, anywhere: false)
        bench.fill(base, [1, 2, 3])
        try bench.store.commit()
        let big = [UInt8](repeating: 9, count: Int(4 * page))
        #expect(try bench.refused { try write(base, big) } == .protectionFailure)
        #expect(try bench.refused { try write(base + 4 * page, big) } == .invalidAddress)
        #expect(try bench.refused { _ = try task.read(address: base + 3 * page, size: page + 1) } == .protectionFailure)
        #expect(try bench.refused { _ = try task.read(address: base + 5 * page, size: 1) } == .invalidAddress)
        #expect(try bench.refused { _ = try task.read(address: base + 6 * page, size: page + 1) } == .invalidAddress)
        #expect(try bench.refused { try task.copy(source: base, size: page + 1, destination: base + 2 * page) } == .protectionFailure)
        #expect(try bench.refused { try task.copy(source: base + 3 * page, size: page + 1, destination: base) } == .protectionFailure)
        // The source before the destination.
        #expect(try bench.refused { try task.copy(source: base + 5 * page, size: 1, destination: base + 3 * page) } == .invalidAddress)
        #expect(try bench.refused { try task.copy(source: base + 4 * page, size: 1, destination: base + 5 * page) } == .protectionFailure)
        var untouched = [UInt8](repeating: 77, count: 8192)
        #expect(
            try bench.refused { try untouched.withUnsafeMutableBytes { try task.readOverwrite(address: base + 3 * page, size: 2 * page, into: $0.baseAddress!) } }
                == .protectionFailure)
        #expect(untouched.allSatisfy { $0 == 77 })
        #expect(bench.words(base, 3) == [1, 2, 3])
        try bench.store.close()
    }

    @Test func bytesMoveAtAnyAlignment() throws {
        try task.map(address: base, size: 8 * page, anywhere: false)
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try write(base + 4093, bytes)
        #expect(try task.read(address: base + 4093, size: 10_000) == bytes)
        #expect(try task.read(address: base + 4092, size: 1) == [0])
        var target = [UInt8](repeating: 0, count: 100)
        try target.withUnsafeMutableBytes { try task.readOverwrite(address: base + 5000, size: 100, into: $0.baseAddress!) }
        #expect(target == Array(bytes[907..<1007]))
        try bench.store.close()
    }

    /// A page that is shown twice by the range that is written holds what was written last, in the order of addresses.
    @Test func bytesAreStoredInTheOrderOfAddresses() throws {
        try task.map(address: base, size: 4 * page, anywhere: false)
        try task.map(address: base + 8 * page, size: 16 * page, anywhere: false)
        _ = try task.remap(address: base + 4 * page, size: page, anywhere: false, source: task, sourceAddress: base)
        let size = 20_000
        let bytes = (0..<size + 4096).map { UInt8(truncatingIfNeeded: $0 &* 31 / 7) }
        // How the C library copies depends on how the two places lie to each other.
        for shift in stride(from: 0, to: 4096, by: 64) {
            let part = Array(bytes[shift..<shift + size])
            let expected = part[16384...] + part[(size - 16384)..<4096]
            try bytes.withUnsafeBytes { try task.write(address: base, UnsafeRawBufferPointer(rebasing: $0[shift..<shift + size])) }
            #expect(try task.read(address: base, size: page) == Array(expected), "written from \(shift)")
            try write(base + 8 * page + UInt64(shift), part)
            try task.copy(source: base + 8 * page + UInt64(shift), size: UInt64(size), destination: base)
            #expect(try task.read(address: base, size: page) == Array(expected), "copied from \(shift)")
        }
        try bench.store.close()
    }

    @Test(arguments: [-5000, -4096, -1, 0, 1, 4096, 5000])
    func anOverlappingCopyIsAsIfTheSourceWereReadFirst(_ distance: Int) throws {
        try task.map(address: base, size: 16 * page, anywhere: false)
        let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 31 / 7) }
        let source = base + 4 * page
        try write(source, bytes)
        let target = UInt64(Int(source) + distance)
        try task.copy(source: source, size: 20_000, destination: target)
        #expect(try task.read(address: target, size: 20_000) == bytes)
        try bench.store.close()
    }

    @Test func copyBetweenMappingsOfOneObjectReadsFirst() throws {
        let object = try bench.object("a", pages: 4)
        let first = try task.map(size: 4 * page, object: object)
        let second = try task.map(size: 4 * page, object: object)
        bench.fill(first, [1, 2, 3, 4])
        // The destination overlaps the source in the object, and lies elsewhere in the task.
        try task.copy(source: first, size: 3 * page, destination: second + page)
        #expect(bench.words(first, 4) == [1, 1, 2, 3])
        try task.copy(source: second + page, size: 3 * page, destination: first)
        #expect(bench.words(first, 4) == [1, 2, 3, 3])
        try bench.store.close()
    }

    @Test func bytesBeyondAnObjectsEndAreMemoryErrors() throws {
        let object = try bench.object("a", pages: 300)
        let address = try task.map(size: 400 * page, object: object)
        bench.set(address, 1)
        try bench.store.commit()
        #expect(try bench.refused { _ = try task.read(address: address + 299 * page, size: page + 1) } == .memoryError)
        #expect(try bench.refused { try write(address + 300 * page - 1, [1, 2]) } == .memoryError)
        #expect(try bench.refused { try task.copy(source: address + 300 * page, size: 1, destination: address) } == .memoryError)
        #expect(try bench.refused { try task.copy(source: address, size: 2 * page, destination: address + 299 * page) } == .memoryError)
        // All or nothing, however long the range.
        #expect(try bench.refused { try task.setBehavior(address: address, size: 301 * page, .zero) } == .memoryError)
        #expect(bench.word(address) == 1)
        try bench.store.close()
    }

    // MARK: vm_msync

    @Test func synchronousIsDurableAtReturn() throws {
        let object = try bench.object("a")
        let address = try task.map(size: 4 * page, object: object)
        let elsewhere = try task.allocate(size: page)
        bench.fill(address, [1, 2, 3, 4])
        bench.set(elsewhere, 5)
        let before = try bench.store.statistics().flushedVersion
        try task.sync(address: address, size: 1, .synchronous)
        #expect(try bench.store.statistics().flushedVersion > before)
        // All that belongs to the commit, never half of it.
        #expect(try !bench.store.hasUncommittedChanges())
        #expect(try bench.store.mapState(.init(name: "a")).withBytes { $0.load(fromByteOffset: 8192, as: Int.self) } == 3)
        bench.set(address, 6)
        try task.sync(address: address, size: page, .asynchronous)
        #expect(try !bench.store.hasUncommittedChanges())
        try bench.store.flush()
        #expect(try bench.store.mapState(.init(name: "a")).withBytes { $0.load(as: Int.self) } == 6)
        try bench.store.close()
    }

    @Test(arguments: [SyncFlags.invalidate, .killPages, [.invalidate, .killPages]])
    func invalidateAndKillPagesPutTheLastCommittedBytesBack(_ flags: SyncFlags) throws {
        let object = try bench.object("a")
        let address = try task.map(size: 4 * page, object: object)
        let second = try task.map(size: 4 * page, object: object)
        bench.fill(address, [1, 2, 3, 4])
        try bench.store.commit()
        bench.fill(address, [10, 20, 30, 40])
        try task.sync(address: second + page, size: 2 * page, flags)
        #expect(bench.words(address, 4) == [10, 2, 3, 40] && bench.words(second, 4) == [10, 2, 3, 40])
        try bench.store.commit()
        #expect(try bench.store.mapState(.init(name: "a")).withBytes { bytes in (0..<4).map { bytes.load(fromByteOffset: $0 * 4096, as: Int.self) } } == [10, 2, 3, 40])
        try bench.store.close()
    }

    @Test func killPagesGoesBeforeTheCommitAndInvalidateAfterIt() throws {
        let address = try task.allocate(size: page)
        bench.set(address, 1)
        try bench.store.commit()
        bench.set(address, 2)
        try task.sync(address: address, size: page, [.synchronous, .invalidate])
        #expect(bench.word(address) == 2)
        bench.set(address, 3)
        try task.sync(address: address, size: page, [.synchronous, .killPages])
        #expect(bench.word(address) == 2)
        try bench.store.close()
    }

    @Test func syncRefusesFlagsAndHoles() throws {
        let address = try task.allocate(size: 2 * page)
        try task.deallocate(address: address + page, size: page)
        bench.set(address, 1)
        for flags in [SyncFlags([.synchronous, .asynchronous]), .init(rawValue: 64), .init(rawValue: 66), [.synchronous, .asynchronous, .invalidate]] {
            #expect(try bench.refused { try task.sync(address: address, size: page, flags) } == .invalidArgument)
            // Before the range: of no bytes, and one that wraps.
            #expect(try bench.refused { try task.sync(address: address, size: 0, flags) } == .invalidArgument)
        }
        #expect(try bench.refused { try task.sync(address: address, size: 2 * page, [.synchronous, .contiguous]) } == .invalidAddress)
        #expect(try bench.refused { try task.sync(address: address, size: 2 * page, [.killPages, .contiguous]) } == .invalidAddress)
        #expect(bench.word(address) == 1)
        // Without contiguous a hole is nothing to refuse, whatever the flags.
        for flags in [SyncFlags.synchronous, .asynchronous, .invalidate, .killPages, .deactivate, [.synchronous, .deactivate]] {
            bench.set(address, 1)
            #expect(bench.code { try task.sync(address: address, size: 2 * page, flags) } == .success)
            #expect(bench.code { try task.sync(address: base + 1000 * page, size: 2 * page, flags) } == .success)
        }
        try bench.store.close()
    }

    // MARK: vm_behavior_set

    @Test(arguments: everyMode)
    func adviceNeverChangesAByte(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let task = bench.task
        let object = try bench.object("a", pages: 40)
        let shared = try task.map(size: 40 * page, object: object)
        bench.fill(shared, Array(1...40))
        try bench.store.commit()
        let copy = try task.map(size: 40 * page, object: object, copy: true)
        bench.fill(shared, Array(101...120))
        bench.fill(copy + 30 * page, [9, 8, 7])
        let heap = try bench.store.createObject(named: "heap", size: 40 * page, residency: .exclusive)
        let exclusive = try task.map(size: 40 * page, object: heap)
        bench.fill(exclusive, Array(1...40))
        try bench.store.commit()
        bench.fill(exclusive, [50, 51])
        try task.protect(address: exclusive + 20 * page, size: page, .none)
        for behavior in MemoryBehavior.allCases where !behavior.changesBytes {
            for address in [shared, copy, exclusive] { try task.setBehavior(address: address, size: 40 * page, behavior) }
            #expect(bench.words(shared, 40) == Array(101...120) + Array(21...40))
            #expect(bench.words(copy, 40) == Array(1...30) + [9, 8, 7] + Array(34...40))
            #expect(bench.words(exclusive, 20) == [50, 51] + Array(3...20))
        }
        try task.sync(address: shared, size: 40 * page, .deactivate)
        #expect(bench.words(shared, 40) == Array(101...120) + Array(21...40))
        #expect(bench.code { try task.setBehavior(address: shared - page, size: page, .dontNeed) } == (shared > bench.base ? .success : .invalidAddress))
        #expect(bench.code { try task.setBehavior(address: bench.base + 1000 * page, size: page, .willNeed) } == .invalidAddress)
        try bench.store.close()
    }

    @Test(arguments: [MemoryBehavior.free, .zero])
    func freeAndZeroFillWithZeros(_ behavior: MemoryBehavior) throws {
        let object = try bench.object("a")
        let address = try task.map(size: 4 * page, object: object)
        bench.fill(address, [1, 2, 3, 4])
        try bench.store.commit()
        try task.setBehavior(address: address + page, size: 2 * page, behavior)
        #expect(bench.words(address, 4) == [1, 0, 0, 4])
        #expect(try task.region(address).dirtyPages == 2)
        try bench.store.commit()
        try task.protect(address: address + 3 * page, size: page, .read)
        #expect(try bench.refused { try task.setBehavior(address: address, size: 4 * page, behavior) } == .protectionFailure)
        #expect(bench.words(address, 4) == [1, 0, 0, 4])
        try task.protect(address: address + 3 * page, size: page, .default)
        #expect(bench.code { try task.setBehavior(address: address + 3 * page, size: 2 * page, behavior) } == .invalidAddress)
        #expect(bench.words(address, 4) == [1, 0, 0, 4])
        try bench.store.close()
    }

    @Test func unknownBehavioursAreNone() {
        for number: Int32 in [-1, 7, 8, 9, 10, 13, 1000] { #expect(MemoryBehavior(rawValue: number) == nil) }
    }

    // MARK: vm_wire

    @Test func wiringIsCountedAndAllOrNothing() throws {
        try task.map(address: base, size: 2 * page, anywhere: false)
        try task.map(address: base + 2 * page, size: page, anywhere: false, current: .read)
        func counts() throws -> [Int] { try (0..<UInt64(3)).map { try task.region(base + $0 * page).wiredCount } }
        try task.wire(address: base, size: 2 * page, access: .default)
        try task.wire(address: base + page, size: 2 * page, access: .read)
        #expect(try counts() == [1, 2, 1])
        #expect(try bench.refused { try task.wire(address: base, size: 3 * page, access: .default) } == .protectionFailure)
        #expect(try bench.refused { try task.wire(address: base, size: 4 * page, access: .read) } == .invalidAddress)
        for bad in malformedProtections {
            #expect(try bench.refused { try task.wire(address: base, size: page, access: bad) } == .invalidArgument)
            #expect(try bench.refused { try task.wire(address: base, size: 0, access: bad) } == .invalidArgument)
        }
        try task.wire(address: base, size: 3 * page, access: .none)
        #expect(try counts() == [0, 1, 0])
        #expect(try bench.refused { try task.wire(address: base, size: 2 * page, access: .none) } == .invalidArgument)
        #expect(try counts() == [0, 1, 0])
        try bench.store.close()
    }

    @Test func wiringOutlivesACommitAndAnAbandonment() throws {
        try task.map(address: base, size: 2 * page, anywhere: false)
        try bench.store.commit()
        try task.map(address: base + 2 * page, size: 2 * page, anywhere: false)
        try task.wire(address: base + page, size: 2 * page, access: .read)
        try bench.store.abandon()
        // What is still there is still pinned.
        #expect(try task.region(base).wiredCount == 0 && task.region(base + page).wiredCount == 1)
        // Memory that comes back is not.
        try task.deallocate(address: base + page, size: page)
        try bench.store.abandon()
        #expect(try task.region(base).wiredCount == 0 && task.region(base).size == 2 * page)
        #expect(try !bench.store.hasUncommittedChanges())
        try bench.store.close()
    }

    // MARK: vm_map_page_query

    @Test func aPageIsPresentDirtyPagedOutOrCopied() throws {
        let object = try bench.object("a")
        let address = try task.map(size: 5 * page, object: object)
        let untouched = try task.queryPage(address)
        #expect(untouched == [])
        bench.set(address, 1)
        #expect(try task.queryPage(address + 4095) == [.present, .dirty])
        try bench.store.commit()
        #expect(try task.queryPage(address) == .present)
        #expect(try task.queryPage(address + 4 * page) == [])
        let copy = try task.map(size: page, object: object, copy: true)
        #expect(try task.queryPage(copy).contains(.copied) && !task.queryPage(copy).contains(.dirty))
        #expect(try bench.refused { _ = try task.queryPage(address + 1000 * page) } == .invalidAddress)
        #expect(try bench.refused { _ = try task.queryPage(.max) } == .invalidAddress)
        try bench.store.close()
        let again = try bench.fixture.open()
        let attached = try again.task(named: "main")
        try attached.map(address: base + 100 * page, size: page, anywhere: false, object: try again.object(named: "a"))
        let isThere = try attached.queryPage(base + 100 * page)
        #expect(isThere == .pagedOut || isThere == .present)
        #expect(bench.word(base + 100 * page, of: attached) == 1)
        #expect(try attached.queryPage(base + 100 * page) == .present)
        try again.close()
    }
}
