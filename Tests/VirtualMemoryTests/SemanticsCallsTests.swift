import TestSupport
import Testing
import Varve

/// vm_deallocate, vm_protect, vm_inherit, vm_remap, vm_region.
@Suite struct SemanticsCallsTests {
    let bench: Bench
    let page = Bench.page
    var task: VMTask { bench.task }
    var base: UInt64 { bench.base }

    init() throws { bench = try Bench() }

    // MARK: Rounding and overflow

    @Test func theseCallsRoundOutward() throws {
        try task.map(address: base, size: 8 * page, anywhere: false)
        try task.protect(address: base + page + 4095, size: 2, .read)
        #expect(try task.region(base + page).start == base + page && task.region(base + page).size == 2 * page)
        try task.inherit(address: base + 4 * page + 1, size: 1, .none)
        #expect(try task.region(base + 4 * page).size == page && task.region(base + 4 * page).inheritance == .none)
        bench.fill(base + 5 * page, [1, 2, 3])
        try task.setBehavior(address: base + 5 * page + 4095, size: 2, .zero)
        #expect(bench.words(base + 5 * page, 3) == [0, 0, 3])
        try task.wire(address: base + 6 * page + 4095, size: 2, access: .read)
        #expect(try task.region(base + 6 * page).wiredCount == 1 && task.region(base + 7 * page).wiredCount == 1)
        try task.wire(address: base + 6 * page, size: 2 * page, access: .none)
        try task.deallocate(address: base + 5 * page + 4095, size: 2)
        #expect(task.entries.allSatisfy { $0.end <= base + 5 * page || $0.start >= base + 7 * page })
        try bench.store.commit()
        bench.fill(base, [5])
        bench.set(base + 3 * page, 6)
        try task.sync(address: base + 4095, size: 1, .invalidate)
        #expect(bench.word(base) == 0 && bench.word(base + 3 * page) == 6)
        try bench.store.close()
    }

    @Test func rangesThatWrapAreInvalidArguments() throws {
        try task.map(address: base, size: page, anywhere: false)
        for (address, size) in [(UInt64.max, UInt64(1)), (.max - 4094, 1), (base, .max), (.max - 4095, page), (1, .max)] {
            #expect(try bench.refused { try task.deallocate(address: address, size: size) } == .invalidArgument)
            #expect(try bench.refused { try task.protect(address: address, size: size, .read) } == .invalidArgument)
            #expect(try bench.refused { try task.inherit(address: address, size: size, .none) } == .invalidArgument)
            #expect(try bench.refused { try task.sync(address: address, size: size, .invalidate) } == .invalidArgument)
            #expect(try bench.refused { try task.setBehavior(address: address, size: size, .zero) } == .invalidArgument)
            #expect(try bench.refused { try task.wire(address: address, size: size, access: .read) } == .invalidArgument)
            #expect(try bench.refused { _ = try task.read(address: address, size: size) } == .invalidArgument)
            #expect(try bench.refused { try task.copy(source: address, size: size, destination: base) } == .invalidArgument)
            #expect(try bench.refused { try task.copy(source: base, size: size, destination: address) } == .invalidArgument)
            #expect(try bench.refused { _ = try task.makeMemoryEntry(address: address, size: size, permission: .read) } == .invalidArgument)
        }
        // The largest ranges that do not wrap.
        for size in [UInt64(1) << 62, 1 << 63, 0 &- base &- 2 * page] {
            #expect(try bench.refused { try task.protect(address: base, size: size, .read) } == .invalidAddress)
            #expect(try bench.refused { try task.sync(address: base, size: size, [.invalidate, .contiguous]) } == .invalidAddress)
            for behavior in MemoryBehavior.allCases {
                #expect(try bench.refused { try task.setBehavior(address: base, size: size, behavior) } == .invalidAddress)
            }
            #expect(try bench.refused { try task.wire(address: base, size: size, access: .read) } == .invalidAddress)
            #expect(try bench.refused { _ = try task.read(address: base, size: size) } == .invalidAddress)
            #expect(try bench.refused { try task.copy(source: base, size: size, destination: base) } == .invalidAddress)
            #expect(try bench.refused { _ = try task.makeMemoryEntry(address: base, size: size, permission: .read) } == .invalidAddress)
            #expect(bench.code { try task.inherit(address: base, size: size, .copy) } == .success)
        }
        #expect(
            try bench.refused { try [UInt8](repeating: 1, count: 2).withUnsafeBytes { try task.write(address: .max - 4095, $0) } } == .invalidArgument)
        try bench.store.close()
    }

    // MARK: vm_deallocate

    @Test func deallocateClipsEntriesAndToleratesHoles() throws {
        try task.map(address: base, size: 4 * page, anywhere: false)
        try task.map(address: base + 6 * page, size: 4 * page, anywhere: false)
        bench.fill(base, [1, 2, 3, 4])
        bench.fill(base + 6 * page, [7, 8, 9, 10])
        try task.deallocate(address: base + 2 * page, size: 6 * page)
        #expect(task.entries.map(\.range) == [base..<base + 2 * page, base + 8 * page..<base + 10 * page])
        #expect(bench.words(base, 2) == [1, 2] && bench.words(base + 8 * page, 2) == [9, 10])
        // Out of the middle: two pieces are left.
        try task.map(address: base + 20 * page, size: 3 * page, anywhere: false)
        try task.deallocate(address: base + 21 * page, size: page)
        #expect(task.entries.count == 4)
        for (address, size) in [(base + 50 * page, page), (0, page), (0, base), (base + task.windowSize, 1 << 40), (0, UInt64.max - 4095)] {
            #expect(bench.code { try task.deallocate(address: address, size: size) } == .success)
        }
        #expect(task.entries.isEmpty)
        try bench.store.close()
    }

    @Test func whatWasChangedInANamedObjectIsCommittedAfterItsMappingsAreGone() throws {
        let object = try bench.object("a")
        let address = try task.map(size: 4 * page, object: object)
        bench.fill(address, [1, 2, 3, 4])
        try task.deallocate(address: address + page, size: 2 * page)
        try task.deallocate(address: address, size: 4 * page)
        let again = try task.map(size: 4 * page, object: object)
        #expect(bench.words(again, 4) == [1, 2, 3, 4])
        try task.deallocate(address: again, size: 4 * page)
        try bench.store.commit()
        #expect(bench.words(try task.map(size: 4 * page, object: object), 4) == [1, 2, 3, 4])
        try bench.store.close()
    }

    // MARK: vm_protect

    @Test func protectChecksEveryEntryThenApplies() throws {
        try task.map(address: base, size: page, anywhere: false)
        try task.map(address: base + page, size: page, anywhere: false, current: .read, maximum: .read)
        try task.map(address: base + 3 * page, size: page, anywhere: false)
        // Beyond a maximum; a hole; the first of the two in order of address.
        #expect(try bench.refused { try task.protect(address: base, size: 2 * page, .default) } == .protectionFailure)
        #expect(try bench.refused { try task.protect(address: base, size: 3 * page, .read) } == .invalidAddress)
        #expect(try bench.refused { try task.protect(address: base, size: 4 * page, .default) } == .protectionFailure)
        #expect(try bench.refused { try task.protect(address: base + 2 * page, size: 2 * page, .all) } == .invalidAddress)
        #expect(try bench.refused { try task.protect(address: base, size: 2 * page, setMaximum: true, .default) } == .protectionFailure)
        for bad in malformedProtections {
            #expect(try bench.refused { try task.protect(address: base, size: page, bad) } == .invalidArgument)
            #expect(try bench.refused { try task.protect(address: 0, size: page, setMaximum: true, bad) } == .invalidArgument)
        }
        try task.protect(address: base, size: 2 * page, .read)
        #expect(try task.region(base).current == .read && task.region(base + page).maximum == .read)
        try bench.store.close()
    }

    @Test func aMaximumOnlyShrinksAndTakesTheCurrentProtectionAlong() throws {
        let address = try task.map(size: page, current: .all, maximum: .all)
        try task.protect(address: address, size: page, setMaximum: true, .default)
        #expect(try task.region(address).current == .default && task.region(address).maximum == .default)
        try task.protect(address: address, size: page, .read)
        try task.protect(address: address, size: page, setMaximum: true, .write)
        #expect(try task.region(address).current == .none && task.region(address).maximum == .write)
        #expect(try bench.refused { try task.protect(address: address, size: page, setMaximum: true, .default) } == .protectionFailure)
        #expect(try bench.refused { try task.protect(address: address, size: page, .read) } == .protectionFailure)
        try task.protect(address: address, size: page, .write)
        try bench.store.commit()
        try bench.store.close()
        let again = try bench.fixture.open()
        let attached = try again.task(named: "main")
        #expect(try attached.region(address).maximum == .write)
        #expect(bench.code { try attached.protect(address: address, size: page, .read) } == .protectionFailure)
        try again.close()
    }

    // MARK: vm_inherit

    @Test func inheritIsClippedPerEntryAndToleratesHoles() throws {
        try task.map(address: base, size: 3 * page, anywhere: false)
        try task.map(address: base + 5 * page, size: 3 * page, anywhere: false)
        try task.inherit(address: base + page, size: 5 * page, .share)
        #expect(task.entries.map(\.inheritance) == [.copy, .share, .share, .copy])
        #expect(task.entries.map(\.range.count) == [4096, 8192, 4096, 8192])
        #expect(bench.code { try task.inherit(address: base + 100 * page, size: page, .none) } == .success)
        #expect(bench.code { try task.inherit(address: 0, size: base, .none) } == .success)
        try bench.store.close()
    }

    // MARK: vm_remap

    @Test func remapSharesOrCopiesWhatLiesBehindTheSource() throws {
        let source = try task.allocate(size: 4 * page)
        bench.fill(source, [1, 2, 3, 4])
        let other = try bench.store.task(named: "other")
        let shared = try other.remap(size: 2 * page, source: task, sourceAddress: source + page + 5).address
        let copied = try other.remap(size: 2 * page, source: task, sourceAddress: source + page, copy: true).address
        bench.set(source + page, 20)
        bench.set(shared + page, 30, of: other)
        bench.set(copied, 40, of: other)
        #expect(bench.words(source, 4) == [1, 20, 30, 4])
        #expect(bench.words(shared, 2, of: other) == [20, 30] && bench.words(copied, 2, of: other) == [40, 3])
        // The source's end is not the memory's.
        try task.deallocate(address: source, size: 4 * page)
        #expect(bench.words(shared, 2, of: other) == [20, 30])
        try bench.store.close()
    }

    @Test func remapAnswersTheMostRestrictiveProtections() throws {
        let source = try task.map(size: 3 * page, current: .all, maximum: .all)
        try task.protect(address: source + page, size: page, .read)
        try task.protect(address: source + 2 * page, size: page, setMaximum: true, .default)
        for copy in [false, true] {
            let made = try task.remap(size: 3 * page, source: task, sourceAddress: source, copy: copy, inheritance: .none)
            #expect(made.current == .read && made.maximum == .default)
            #expect(try task.region(made.address).inheritance == .none)
            let one = try task.remap(size: page, source: task, sourceAddress: source, copy: copy)
            #expect(one.current == .all && one.maximum == .all)
        }
        try bench.store.close()
    }

    @Test func remapChecksInOrder() throws {
        let source = try task.allocate(address: base, size: 2 * page, anywhere: false)
        let gone = try bench.store.task(named: "gone")
        try gone.terminate()
        try bench.store.commit()
        #expect(bench.code { try gone.remap(size: 0, source: gone, sourceAddress: source) } == .terminated)
        #expect(try bench.refused { try task.remap(size: 0, source: gone, sourceAddress: source) } == .invalidTask)
        #expect(try bench.refused { try task.remap(size: 0, source: task, sourceAddress: 0) } == .invalidArgument)
        #expect(try bench.refused { try task.remap(size: .max, source: task, sourceAddress: source) } == .invalidArgument)
        #expect(try bench.refused { try task.remap(address: .max, size: 2 * page, anywhere: false, source: task, sourceAddress: source) } == .invalidArgument)
        #expect(try bench.refused { try task.remap(size: 2 * page, source: task, sourceAddress: .max - 4095) } == .invalidArgument)
        for copy in [false, true] {
            // A hole in the source, at its end too, before a place that is taken.
            #expect(
                try bench.refused { try task.remap(address: source, size: 3 * page, anywhere: false, source: task, sourceAddress: source, copy: copy) }
                    == .invalidAddress)
            #expect(try bench.refused { try task.remap(size: page, source: task, sourceAddress: 0, copy: copy) } == .invalidAddress)
            #expect(
                try bench.refused { try task.remap(address: source, size: page, anywhere: false, source: task, sourceAddress: source, copy: copy) }
                    == .noSpace)
        }
        try bench.store.close()
    }

    // MARK: vm_region

    @Test func regionIsTheOneThatContainsTheAddressOrTheNextAbove() throws {
        #expect(try bench.refused { _ = try task.region(0) } == .invalidAddress)
        let object = try bench.object("a", pages: 8)
        try task.map(
            address: base + 4 * page, size: 2 * page, anywhere: false, object: object, offset: 3 * page, current: .read, maximum: .default,
            inheritance: .share)
        try task.map(address: base + 10 * page, size: page, anywhere: false)
        for address in [0, 1, base, base + 4 * page - 1, base + 4 * page, base + 5 * page + 4095] {
            let info = try task.region(address)
            #expect(info.start == base + 4 * page && info.size == 2 * page && info.object == object.id && info.offset == 3 * page)
            #expect(info.current == .read && info.maximum == .default && info.inheritance == .share && !info.isShared && info.wiredCount == 0)
        }
        #expect(try task.region(base + 6 * page).start == base + 10 * page)
        for address in [base + 11 * page, base + task.windowSize, .max] {
            #expect(try bench.refused { _ = try task.region(address) } == .invalidAddress)
        }
        try bench.store.close()
    }

    @Test func regionCountsPages() throws {
        let address = try task.allocate(size: 4 * page)
        #expect(try task.region(address).residentPages == 0 && task.region(address).dirtyPages == 0)
        bench.fill(address, [1, 2])
        #expect(try task.region(address).residentPages == 2 && task.region(address).dirtyPages == 2)
        try bench.store.commit()
        #expect(try task.region(address).dirtyPages == 0 && task.region(address).residentPages == 2)
        #expect(try task.region(address).swappedPages == 0)
        try bench.store.close()
    }

    // MARK: What every call shares

    @Test func aTerminatedTaskIsTerminatedForItsOwnHandle() throws {
        let gone = try bench.store.task(named: "gone")
        let address = try gone.allocate(size: page)
        try gone.terminate()
        #expect(gone.isTerminated && !task.isTerminated)
        let bad = Protection(rawValue: 8)
        var byte: UInt8 = 1
        let calls: [() throws -> Void] = [
            { try gone.map(size: page) }, { try gone.allocate(size: 0) }, { try gone.deallocate(address: .max, size: .max) },
            { try gone.protect(address: address, size: page, bad) }, { try gone.inherit(address: .max, size: .max, .none) },
            { try gone.remap(size: 0, source: task, sourceAddress: 0) }, { _ = try gone.region(address) },
            { _ = try gone.read(address: address, size: .max) }, { try gone.readOverwrite(address: address, size: 1, into: &byte) },
            { try withUnsafeBytes(of: byte) { try gone.write(address: address, $0) } }, { try gone.copy(source: address, size: .max, destination: 0) },
            { try gone.sync(address: address, size: page, [.synchronous, .asynchronous]) }, { try gone.setBehavior(address: .max, size: .max, .zero) },
            { try gone.wire(address: address, size: page, access: bad) }, { _ = try gone.queryPage(address) },
            { _ = try gone.makeMemoryEntry(address: 0, size: 0, permission: bad) }, { _ = try gone.createChild(named: "") },
            { try gone.terminate() },
        ]
        for (index, call) in calls.enumerated() { #expect(bench.code(call) == .terminated, "call \(index)") }
        try bench.store.close()
        #expect(bench.code { try task.allocate(size: page) } == .terminated)
        #expect(bench.code { _ = try task.createChild(named: "child") } == .terminated)
    }
}
