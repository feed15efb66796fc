import TestSupport
import Testing
import Varve

/// vm_map and vm_allocate: sizes, rounding, placement, and the order of checks.
@Suite struct SemanticsMapTests {
    let bench: Bench
    let page = Bench.page
    var task: VMTask { bench.task }
    var base: UInt64 { bench.base }
    var end: UInt64 { base + task.windowSize }

    init() throws { bench = try Bench() }

    @Test func addressAndSizeAreRoundedIndependently() throws {
        for (address, size, start, length) in [
            (base + page - 1, UInt64(2), base, page), (base + 2 * page + 1, page, base + 2 * page, page),
            (base + 5 * page + 4095, page + 1, base + 5 * page, 2 * page),
        ] {
            #expect(try task.map(address: address, size: size, anywhere: false) == start)
            #expect(try task.region(start).size == length)
            #expect(try task.allocate(address: address + 100 * page, size: size, anywhere: false) == start + 100 * page)
            #expect(try task.region(start + 100 * page).size == length)
        }
        try bench.store.close()
    }

    @Test func sizeZero() throws {
        #expect(try bench.refused { try task.map(size: 0) } == .invalidArgument)
        #expect(try bench.refused { try task.map(address: base, size: 0, anywhere: false) } == .invalidArgument)
        #expect(try bench.refused { try task.remap(size: 0, source: task, sourceAddress: base) } == .invalidArgument)
        #expect(try task.allocate(address: base, size: 0, anywhere: false) == 0)
        #expect(try task.allocate(address: .max, size: 0, anywhere: false) == 0)
        let before = task.entries
        for address in [0, 1, base, .max] {
            #expect(bench.code { try task.deallocate(address: address, size: 0) } == .success)
            #expect(bench.code { try task.protect(address: address, size: 0, .all) } == .success)
            #expect(bench.code { try task.inherit(address: address, size: 0, .none) } == .success)
            #expect(bench.code { try task.sync(address: address, size: 0, .synchronous) } == .success)
            #expect(bench.code { try task.setBehavior(address: address, size: 0, .zero) } == .success)
            #expect(bench.code { try task.wire(address: address, size: 0, access: .read) } == .success)
            #expect(bench.code { _ = try task.read(address: address, size: 0) } == .success)
            #expect(bench.code { try task.write(address: address, UnsafeRawBufferPointer(start: nil, count: 0)) } == .success)
            #expect(bench.code { try task.copy(source: address, size: 0, destination: address) } == .success)
        }
        #expect(task.entries == before)
        try bench.store.close()
    }

    @Test func sizesThatRoundToZeroAndSumsThatWrap() throws {
        let object = try bench.object("a")
        for size in [UInt64.max, UInt64.max - 1, UInt64.max - 4094] {
            for anywhere in [true, false] {
                #expect(try bench.refused { try task.map(address: base, size: size, anywhere: anywhere) } == .invalidArgument)
                #expect(try bench.refused { try task.map(address: base, size: size, anywhere: anywhere, object: object) } == .invalidArgument)
                #expect(try bench.refused { try task.allocate(address: base, size: size, anywhere: anywhere) } == .invalidArgument)
            }
        }
        // Fixed: address + size wraps, before rounding or only after it.
        let wrapping: [(UInt64, UInt64)] = [(.max - 4095, page + 1), (.max, page), (.max - 8191, .max - page), (.max - page + 1, 2)]
        for (address, size) in wrapping {
            #expect(try bench.refused { try task.map(address: address, size: size, anywhere: false) } == .invalidArgument)
            #expect(try bench.refused { try task.allocate(address: address, size: size, anywhere: false) } == .invalidAddress)
        }
        // offset + size wraps, before rounding or only after it; of the null object too.
        for offset in [UInt64.max - 4095, .max - 4095 - page] {
            #expect(try bench.refused { try task.map(size: 2 * page, object: object, offset: offset) } == .invalidArgument)
            #expect(try bench.refused { try task.map(size: 2 * page, offset: offset) } == .invalidArgument)
        }
        #expect(try bench.refused { try task.map(size: 4095, object: object, offset: .max - 4095) } == .invalidArgument)
        try bench.store.close()
    }

    @Test func anOffsetIsPageAligned() throws {
        let object = try bench.object("a")
        for offset in [UInt64(1), 4095, 4097, page * 3 + 2] {
            #expect(try bench.refused { try task.map(size: page, object: object, offset: offset) } == .invalidArgument)
            #expect(try bench.refused { try task.map(size: page, object: object, offset: offset, copy: true) } == .invalidArgument)
        }
        try bench.store.close()
    }

    @Test(arguments: [false, true])
    func anOffsetBeyondTheEndIsLegalAndTheAccessDecides(_ copy: Bool) throws {
        let object = try bench.object("a")
        let offsets: [UInt64] = [4 * page, 5 * page, 1 << 44, 1 << 61, (1 << 63) - page, 1 << 63, 0 &- 3 * page]
        for offset in offsets {
            let address = try task.map(size: 2 * page, object: object, offset: offset, copy: copy)
            #expect(try task.region(address).offset == offset)
            #expect(bench.code { _ = try task.read(address: address, size: 1) } == .memoryError)
            #expect(try task.queryPage(address).isSubset(of: .copied))
            try task.deallocate(address: address, size: 2 * page)
        }
        let address = try task.map(size: 4 * page, object: object, offset: 2 * page, copy: copy)
        #expect(try task.read(address: address, size: 2 * page).count == 8192)
        #expect(bench.code { _ = try task.read(address: address + page, size: page + 1) } == .memoryError)
        #expect(try bench.refused { try task.map(size: 1 << 63, object: object, copy: copy) } == .noSpace)
        #expect(try bench.refused { try task.map(size: .max - 4095, object: object, copy: copy) } == .noSpace)
        try bench.store.close()
    }

    @Test func fixedPlacementMaskThenBoundsThenOverlap() throws {
        try task.map(address: base + 4 * page, size: 4 * page, anywhere: false)
        func fixed(_ address: UInt64, _ size: UInt64, mask: UInt64 = 0) throws -> KernReturn {
            try bench.refused { try task.map(address: address, size: size, mask: mask, anywhere: false) }
        }
        // The mask before the bounds; the bounds before an overlap.
        #expect(try fixed(end + page, page, mask: page) == .noSpace)
        #expect(try fixed(0, page) == .invalidAddress)
        #expect(try fixed(base - page, 8 * page) == .invalidAddress)
        #expect(try fixed(end - page, 2 * page) == .invalidAddress)
        #expect(try fixed(end, page) == .invalidAddress)
        #expect(try fixed(base, task.windowSize + page) == .invalidAddress)
        for (address, size) in [(base + 3 * page, 2 * page), (base + 7 * page, page), (base + 5 * page, page), (base, 100 * page)] {
            #expect(try fixed(address, size) == .noSpace)
        }
        #expect(try fixed(base + page, page, mask: page) == .noSpace)
        // Neighbours may touch, on both sides; the window's first and last pages are fine.
        for (address, size) in [(base + 2 * page, 2 * page), (base + 8 * page, page), (base, page), (end - page, page)] {
            #expect(bench.code { try task.map(address: address, size: size, anywhere: false) } == .success)
        }
        try bench.store.close()
    }

    @Test func anywhereIsTheLowestFitFromTheHintWithoutWrappingAround() throws {
        try task.map(address: base + 4 * page, size: 4 * page, anywhere: false)
        #expect(try task.map(address: base + 3 * page + 7, size: page) == base + 3 * page)
        #expect(try task.map(address: base + 3 * page, size: page) == base + 8 * page)
        #expect(try task.map(size: 4 * page) == base + 9 * page)
        #expect(try task.map(address: 0, size: 3 * page) == base)
        #expect(try task.map(address: end - page, size: page) == end - page)
        // Below there is room, but the search never wraps around.
        #expect(try bench.refused { try task.map(address: end - page, size: page) } == .noSpace)
        #expect(try bench.refused { try task.map(address: end - 2 * page, size: 2 * page) } == .noSpace)
        for hint in [end, end + page, .max - 4095, .max] {
            #expect(try bench.refused { try task.map(address: hint, size: page) } == .noSpace)
            #expect(try bench.refused { try task.allocate(address: hint, size: page) } == .noSpace)
        }
        #expect(try bench.refused { try task.map(size: task.windowSize) } == .noSpace)
        try bench.store.close()
    }

    @Test(arguments: [UInt64(0xfff), 0x1000, 0xf000, 0x5000, 0x1_2000, 0xa000, 0x9_9000])
    func anyBitPatternInTheMaskIsKept(_ mask: UInt64) throws {
        try task.map(address: base, size: page, anywhere: false)
        try task.map(address: base + 16 * page, size: 3 * page, anywhere: false)
        for size in [page, 3 * page, 20 * page] {
            for hint in [base, base + 3 * page, base + 0x99000] {
                // The smallest address, looked for one by one.
                var wanted = hint
                while wanted & mask & ~4095 != 0
                    || task.entries.contains(where: { $0.start < wanted + size && $0.end > wanted })
                { wanted += page }
                #expect(try task.map(address: hint, size: size, mask: mask) == wanted)
                try task.deallocate(address: wanted, size: size)
            }
        }
        #expect(try bench.refused { try task.map(size: page, mask: .max) } == .noSpace)
        try bench.store.close()
    }

    /// Every call has two faults: the one that is checked first answers.
    @Test func theOrderOfChecks() throws {
        let bad = Protection(rawValue: 8)
        let dead = try bench.object("dead", dead: true)
        let object = try bench.object("a")
        let readable = bench.store.port(to: object, rights: .read)
        let owner = try task.map(address: base, size: 4 * page, anywhere: false)
        let entry = try task.makeMemoryEntry(address: owner, size: 2 * page, permission: .read)
        // Protection bits, before an address that wraps.
        #expect(try bench.refused { try task.map(address: .max, size: 2 * page, anywhere: false, current: bad) } == .invalidArgument)
        // Address and size, before a dead object (INVALID_OBJECT) and before placement (NO_SPACE).
        #expect(try bench.refused { try task.map(size: 0, object: dead) } == .invalidArgument)
        #expect(try bench.refused { try task.map(address: .max, size: 2 * page, anywhere: false, object: dead) } == .invalidArgument)
        // offset + size, before the kind of object.
        #expect(try bench.refused { try task.map(size: 2 * page, object: dead, offset: .max - 4095) } == .invalidArgument)
        #expect(try bench.refused { try task.map(size: page, object: dead, offset: 5) } == .invalidArgument)
        // The kind of object, before rights and placement.
        let deadPort = bench.store.port(to: dead, rights: .none)
        #expect(try bench.refused { try task.map(size: page, object: deadPort) } == .invalidObject)
        #expect(try bench.refused { try task.map(address: base, size: page, anywhere: false, object: dead) } == .invalidObject)
        #expect(try bench.refused { try task.map(address: base, size: page, anywhere: false, object: dead, copy: true) } == .invalidObject)
        // Rights, before the range of an entry and before placement.
        #expect(try bench.refused { try task.map(size: 100 * page, object: entry) } == .protectionFailure)
        #expect(try bench.refused { try task.map(address: base, size: page, anywhere: false, object: readable) } == .protectionFailure)
        // The range of an entry, before placement.
        #expect(
            try bench.refused {
                try task.map(address: base, size: 3 * page, anywhere: false, object: entry, current: .read, maximum: .read)
            } == .invalidArgument)
        #expect(try bench.refused { try task.map(address: base, size: 3 * page, anywhere: false, object: entry, copy: true) } == .invalidArgument)
        // Placement last.
        #expect(try bench.refused { try task.map(address: base, size: page, anywhere: false, object: object) } == .noSpace)
        #expect(try bench.refused { try task.map(address: base, size: page, anywhere: false, object: object, copy: true) } == .noSpace)
        // The task before all else.
        let other = try bench.store.task(named: "other")
        try other.terminate()
        #expect(bench.code { try other.map(size: 0, object: dead, offset: 5, current: bad) } == .terminated)
        #expect(bench.code { try other.allocate(size: .max) } == .terminated)
        try bench.store.close()
    }

    @Test func currentIsWithinMaximumAndBothAreWellFormed() throws {
        for bad in malformedProtections {
            #expect(try bench.refused { try task.map(size: page, current: bad, maximum: bad) } == .invalidArgument)
            #expect(try bench.refused { try task.map(size: page, current: .none, maximum: bad) } == .invalidArgument)
        }
        for (current, maximum) in [(Protection.write, Protection.read), (.all, .default), (.read, .none)] {
            #expect(try bench.refused { try task.map(size: page, current: current, maximum: maximum) } == .invalidArgument)
        }
        for current in 0..<8 {
            let current = Protection(rawValue: Int32(current))
            let region = try task.region(try task.map(size: page, current: current, maximum: .all))
            #expect(region.current == current && region.maximum == .all)
        }
        try bench.store.close()
    }

    @Test func protectionsBeyondThePortAreRefusedAndACopyNeedsReadAlone() throws {
        let object = try bench.object("a")
        for rights in [Protection.none, .read, .write, .default, [.read, .execute]] {
            let port = bench.store.port(to: object, rights: rights)
            for (current, maximum) in [(Protection.read, Protection.read), (.none, .none), (.read, .default), (.default, .all)] {
                let isAllowed = current.union(maximum).isSubset(of: rights)
                let share = { _ = try task.map(size: page, object: port, current: current, maximum: maximum) }
                if isAllowed { #expect(bench.code(share) == .success) } else { #expect(try bench.refused(share) == .protectionFailure) }
                let copy = { _ = try task.map(size: page, object: port, copy: true, current: current, maximum: maximum) }
                if rights.contains(.read) { #expect(bench.code(copy) == .success) } else { #expect(try bench.refused(copy) == .protectionFailure) }
            }
        }
        try bench.store.close()
    }

    @Test func theNullObjectIsPrivateZerosWithoutOffsetOrCopy() throws {
        let address = try task.map(size: 2 * page, offset: 123, copy: true)
        let region = try task.region(address)
        #expect(region.offset == 0 && !region.isCopied && !region.isShared)
        #expect(try task.read(address: address, size: 2 * page) == [UInt8](repeating: 0, count: 8192))
        try bench.store.close()
    }

    @Test func allocatedMemoryIsZerosReadableAndWritable() throws {
        let address = try task.allocate(size: 3 * page)
        let region = try task.region(address)
        #expect(region.current == .default && region.maximum == .all && region.inheritance == .copy)
        #expect(try task.read(address: address, size: 3 * page).allSatisfy { $0 == 0 })
        // Memory that was used before is zeros again.
        bench.fill(address, [1, 2, 3])
        try task.deallocate(address: address, size: 3 * page)
        #expect(try task.read(address: try task.allocate(size: 3 * page), size: 3 * page).allSatisfy { $0 == 0 })
        try bench.store.close()
    }

    @Test func pageZeroIsNeverHandedOut() throws {
        #expect(try task.map(address: 0, size: page) >= 4096)
        #expect(try bench.refused { try task.map(address: 0, size: page, anywhere: false) } == .invalidAddress)
        #expect(try bench.refused { try task.allocate(address: 4095, size: page, anywhere: false) } == .invalidAddress)
        try bench.store.close()
    }

    @Test func mappingsOfOneObjectSeeEachOther() throws {
        let object = try bench.object("a")
        let other = try bench.store.task(named: "other")
        let first = try task.map(size: 4 * page, object: object)
        let second = try task.map(size: 2 * page, object: object, offset: page)
        let third = try other.map(size: 4 * page, object: object)
        bench.set(first + page, 5)
        bench.set(second + page, 6)
        bench.set(third, 7, of: other)
        #expect(bench.words(first, 3) == [7, 5, 6] && bench.words(second, 2) == [5, 6])
        #expect(bench.words(third, 3, of: other) == [7, 5, 6])
        #expect(try task.region(first).isShared && task.region(second).isShared && other.region(third).isShared)
        try bench.store.close()
    }

    @Test func aCopyIsOfTheObjectAtTheCall() throws {
        let object = try bench.object("a")
        let shared = try task.map(size: 4 * page, object: object)
        bench.fill(shared, [1, 2, 3, 4])
        try bench.store.commit()
        bench.set(shared, 10)
        let copy = try task.map(size: 4 * page, object: object, copy: true)
        #expect(try task.region(copy).isCopied && !task.region(copy).isShared)
        #expect(bench.words(copy, 4) == [10, 2, 3, 4])
        bench.set(shared, 100)
        bench.set(shared + page, 200)
        bench.set(copy + 2 * page, 300)
        #expect(bench.words(copy, 4) == [10, 2, 300, 4])
        #expect(bench.words(shared, 4) == [100, 200, 3, 4])
        try bench.store.close()
    }

    @Test func equalNeighboursAreOneEntry() throws {
        let object = try bench.object("a")
        try task.map(address: base, size: 2 * page, anywhere: false, object: object)
        try task.map(address: base + 2 * page, size: 2 * page, anywhere: false, object: object, offset: 2 * page)
        #expect(task.entries.map(\.range) == [base..<base + 4 * page])
        try task.protect(address: base + page, size: page, .read)
        #expect(task.entries.count == 3)
        try task.protect(address: base, size: 4 * page, .default)
        #expect(task.entries.count == 1)
        try bench.store.close()
    }

    /// A region that was cut in pieces is shown by nothing else: its pieces are of other pages.
    @Test func onlyWhatShowsTheSamePagesIsShared() throws {
        let address = try task.allocate(size: 3 * page)
        try task.protect(address: address + page, size: page, .read)
        for index in 0..<UInt64(3) { #expect(try !task.region(address + index * page).isShared) }
        try task.deallocate(address: address + page, size: page)
        #expect(try !task.region(address).isShared && !task.region(address + 2 * page).isShared)
        let second = try task.remap(size: page, source: task, sourceAddress: address).address
        #expect(try task.region(address).isShared && task.region(second).isShared)
        #expect(try !task.region(address + 2 * page).isShared)
        try bench.store.close()
    }

    @Test func mapChangesAreUndoneAndMadeDurableLikeBytes() throws {
        let kept = try task.allocate(size: 2 * page)
        bench.fill(kept, [1, 2])
        try task.protect(address: kept + page, size: page, .read)
        try task.inherit(address: kept, size: page, .share)
        try bench.store.commit()
        let entries = task.entries
        try task.deallocate(address: kept, size: page)
        try task.protect(address: kept + page, size: page, setMaximum: true, .none)
        try task.allocate(size: 5 * page)
        try bench.store.abandon()
        #expect(task.entries == entries && bench.words(kept, 2) == [1, 2])
        // Uncommitted work is lost with the process.
        try task.allocate(size: page)
        try task.deallocate(address: kept, size: page)
        try bench.store.close()
        let again = try bench.fixture.open()
        let attached = try again.task(named: "main")
        #expect(attached.entries == entries && bench.words(kept, 2, of: attached) == [1, 2])
        try again.close()
    }
}
