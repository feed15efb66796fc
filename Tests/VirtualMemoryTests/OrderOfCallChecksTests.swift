import TestSupport
import Testing
import Varve

/// Each call but vm_map with two faults and more: task, then what is malformed, then the range, then what is in it.
@Suite struct OrderOfCallChecksTests {
    private let bench: Bench
    private let page = Bench.page
    private var task: VMTask { bench.task }
    private var base: UInt64 { bench.base }
    private let gone: VMTask
    /// Readable and writable; then one page that may never be written; then one that may be written alone; then a hole.
    private let memory: UInt64
    private var unwritable: UInt64 { memory + 2 * page }
    private var unreadable: UInt64 { memory + 3 * page }
    private var hole: UInt64 { memory + 4 * page }
    private let bad = Protection(rawValue: 8)

    init() throws {
        bench = try Bench()
        memory = bench.base + 10 * page
        try bench.task.map(address: memory, size: 2 * page, anywhere: false)
        try bench.task.map(address: memory + 2 * page, size: page, anywhere: false, current: .read, maximum: .read)
        try bench.task.map(address: memory + 3 * page, size: page, anywhere: false, current: .write, maximum: .write)
        try bench.store.commit()
        gone = try bench.store.task(named: "gone")
        try gone.terminate()
        try bench.store.commit()
    }

    private func check(
        _ wanted: KernReturn, _ what: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
    ) throws {
        let code = try bench.refused(body, sourceLocation: sourceLocation)
        #expect(code == wanted, "\(what)", sourceLocation: sourceLocation)
    }

    @Test func allocateChecksTaskSizeWrappingBoundsOverlap() throws {
        try check(.terminated, "task, size 0") { try gone.allocate(size: 0) }
        try check(.terminated, "task, a size that rounds to 0") { try gone.allocate(size: .max) }
        try check(.terminated, "task, wrapping") { try gone.allocate(address: .max, size: 2 * page, anywhere: false) }
        // Nothing is wrong with nothing.
        #expect(try task.allocate(address: .max, size: 0, anywhere: false) == 0)
        try check(.invalidArgument, "a size that rounds to 0, wrapping") { try task.allocate(address: .max, size: .max, anywhere: false) }
        try check(.invalidArgument, "a size that rounds to 0, a hint above the bounds") { try task.allocate(address: .max, size: .max) }
        try check(.invalidAddress, "wrapping, bounds") { try task.allocate(address: .max, size: 2 * page, anywhere: false) }
        try check(.invalidAddress, "bounds, overlap") { try task.allocate(address: base - page, size: 20 * page, anywhere: false) }
        try check(.noSpace, "overlap") { try task.allocate(address: hole - 1, size: 2 * page, anywhere: false) }
        try check(.noSpace, "a hint above the bounds is no wrong address") { try task.allocate(address: .max, size: page) }
    }

    @Test func deallocateChecksTaskOverflow() throws {
        try check(.terminated, "task, overflow") { try gone.deallocate(address: .max, size: .max) }
        #expect(bench.code { try task.deallocate(address: .max, size: 0) } == .success)
        try check(.invalidArgument, "overflow, and memory at its beginning") { try task.deallocate(address: memory, size: .max) }
    }

    @Test func protectChecksTaskBitsSizeOverflowThenEntriesFromTheLowest() throws {
        for setMaximum in [false, true] {
            func protect(_ address: UInt64, _ size: UInt64, _ protection: Protection, _ of: VMTask? = nil) throws {
                try (of ?? task).protect(address: address, size: size, setMaximum: setMaximum, protection)
            }
            try check(.terminated, "task, bits") { try protect(memory, page, bad, gone) }
            try check(.terminated, "task, overflow") { try protect(.max, .max, .read, gone) }
            try check(.invalidArgument, "bits, size 0") { try protect(memory, 0, bad) }
            try check(.invalidArgument, "bits, hole") { try protect(hole, page, bad) }
            try check(.invalidArgument, "overflow, hole") { try protect(hole, .max, .read) }
            try check(.invalidArgument, "overflow, beyond the maximum") { try protect(unwritable, .max, .all) }
            try check(.protectionFailure, "beyond the maximum, a hole above it") { try protect(memory, 5 * page, .default) }
            try check(.invalidAddress, "a hole, beyond the maximum above it") { try protect(base, 20 * page, .default) }
        }
    }

    @Test func inheritChecksTaskOverflow() throws {
        try check(.terminated, "task, overflow") { try gone.inherit(address: .max, size: .max, .none) }
        try check(.invalidArgument, "overflow, and memory at its beginning") { try task.inherit(address: memory, size: .max, .none) }
    }

    @Test func remapChecksTasksSizeSourceCopyPlace() throws {
        let manager = TestManager { _ in throw Complaint("never") }
        let failing = try bench.store.makeObject(size: 4 * page, manager: manager)
        let other = try Bench()
        func remap(in target: VMTask? = nil, at address: UInt64 = 0, _ size: UInt64, of source: VMTask? = nil, from: UInt64, copy: Bool = false) throws {
            try (target ?? task).remap(
                address: address, size: size, anywhere: address == 0, source: source ?? task, sourceAddress: from, copy: copy)
        }
        try check(.terminated, "task, source task") { try remap(in: gone, page, of: gone, from: memory) }
        try check(.terminated, "task, size 0") { try remap(in: gone, 0, from: memory) }
        try check(.invalidTask, "source task, size 0") { try remap(0, of: gone, from: memory) }
        try check(.invalidTask, "another store's task, wrapping") { try remap(at: .max, 2 * page, of: other.task, from: memory) }
        for copy in [false, true] {
            try check(.invalidArgument, "size 0, hole") { try remap(0, from: hole, copy: copy) }
            try check(.invalidArgument, "wrapping, hole") { try remap(at: .max, 2 * page, from: hole, copy: copy) }
            try check(.invalidArgument, "the source wraps, a place that is taken") { try remap(at: memory, 2 * page, from: .max, copy: copy) }
            try check(.invalidAddress, "hole, a place that is taken") { try remap(at: memory, 2 * page, from: unreadable, copy: copy) }
            try check(.invalidAddress, "hole, no room") { try remap(1 << 40, from: memory, copy: copy) }
            try check(.noSpace, "a place that is taken") { try remap(at: memory, page, from: memory, copy: copy) }
            try check(.invalidAddress, "a place out of bounds, and taken") { try remap(at: base - page, 4 * page, from: memory, copy: copy) }
        }
        guard HostCapabilities.current.demandFaults else { return }
        let at = try task.map(address: hole, size: 4 * page, anywhere: false, object: failing)
        // Plain memory first, then what can't be had: nothing is left of the copy that was begun.
        try check(.memoryError, "copy, a place that is taken") { try remap(at: memory, 2 * page, from: at - page, copy: true) }
        try check(.memoryError, "copy") { try remap(5 * page, from: memory, copy: true) }
        try check(.invalidAddress, "hole, copy") { try remap(6 * page, from: at, copy: true) }
        #expect(bench.code { try remap(2 * page, from: at - page) } == .success)
    }

    @Test func regionAndPageQueryCheckTheTaskFirst() throws {
        try check(.terminated, "task, nothing above") { _ = try gone.region(.max) }
        try check(.terminated, "task, hole") { _ = try gone.queryPage(hole) }
        try check(.invalidAddress, "nothing above") { _ = try task.region(hole) }
        try check(.invalidAddress, "hole") { _ = try task.queryPage(hole) }
    }

    @Test func bytesCheckTaskOverflowRangeThenPages() throws {
        let short = try bench.object("short", pages: 1)
        let beyond = try task.map(address: hole + 10 * page, size: 2 * page, anywhere: false, object: short)
        try task.map(address: beyond + 2 * page, size: page, anywhere: false, current: .none)
        try bench.store.commit()
        let bytes = [UInt8](repeating: 1, count: Int(4 * page))
        var byte: UInt8 = 7
        func write(_ address: UInt64, _ size: UInt64, _ of: VMTask? = nil) throws {
            try bytes.withUnsafeBytes { try (of ?? task).write(address: address, UnsafeRawBufferPointer(rebasing: $0[..<Int(size)])) }
        }
        func read(_ address: UInt64, _ size: UInt64) throws { _ = try task.read(address: address, size: size) }
        try check(.terminated, "task, overflow") { _ = try gone.read(address: .max, size: 2) }
        try check(.terminated, "task, overflow") { try gone.readOverwrite(address: .max, size: 2, into: &byte) }
        try check(.terminated, "task, overflow") { try write(.max, 2, gone) }
        try check(.terminated, "task, overflow") { try gone.copy(source: .max, size: 2, destination: 0) }
        try check(.terminated, "task, nothing") { _ = try gone.read(address: 0, size: 0) }
        try check(.terminated, "task, nothing") { try write(0, 0, gone) }
        try check(.terminated, "task, nothing") { try gone.copy(source: 0, size: 0, destination: 0) }
        try check(.invalidArgument, "overflow, hole") { try read(hole, .max) }
        try check(.invalidArgument, "overflow, no right") { try read(unreadable, .max) }
        try check(.invalidArgument, "overflow, hole") { try write(.max - 4095, page) }
        // The whole range, before its pages: none is looked for where one of them is refused.
        try check(.protectionFailure, "no right, beyond the end below it") { try read(beyond, 3 * page) }
        try check(.protectionFailure, "no right, beyond the end below it") { try write(beyond, 3 * page) }
        try task.deallocate(address: beyond + 2 * page, size: page)
        try check(.invalidAddress, "hole, beyond the end below it") { try read(beyond, 3 * page) }
        try check(.memoryError, "beyond the end") { try read(beyond, 2 * page) }
        #expect(byte == 7)
    }

    @Test func copyChecksTheSourceBeforeTheDestination() throws {
        let sources = [(UInt64.max, KernReturn.invalidArgument), (hole, .invalidAddress), (unreadable, .protectionFailure)]
        let destinations = [(UInt64.max, KernReturn.invalidArgument), (hole, .invalidAddress), (unwritable, .protectionFailure)]
        for (source, code) in sources {
            for destination in [.max, hole, unwritable, memory] {
                try check(code, "\(code)") { try task.copy(source: source, size: 2, destination: destination) }
            }
        }
        for (destination, code) in destinations {
            try check(code, "\(code)") { try task.copy(source: memory, size: 2, destination: destination) }
            try check(code, "\(code), whole pages") { try task.copy(source: memory, size: page, destination: destination & ~4095) }
        }
    }

    @Test func syncChecksTaskFlagsSizeOverflowHole() throws {
        bench.set(memory, 5)
        let malformed: [SyncFlags] = [[.synchronous, .asynchronous], .init(rawValue: 64), [.synchronous, .asynchronous, .contiguous, .killPages]]
        for flags in malformed {
            try check(.terminated, "task, flags") { try gone.sync(address: memory, size: page, flags) }
            for (address, size) in [(memory, UInt64(0)), (memory, .max), (hole, page)] {
                try check(.invalidArgument, "flags, \(size)") { try task.sync(address: address, size: size, flags) }
            }
        }
        for flags in [SyncFlags.synchronous, .asynchronous, .invalidate, .killPages] {
            let flags = flags.union(.contiguous)
            try check(.terminated, "task, overflow") { try gone.sync(address: .max, size: page, flags) }
            try check(.invalidArgument, "overflow, hole") { try task.sync(address: memory, size: .max, flags) }
            // Before anything is committed or dropped.
            try check(.invalidAddress, "hole") { try task.sync(address: memory, size: 5 * page, flags) }
        }
        #expect(bench.word(memory) == 5)
    }

    @Test func behaviorChecksTaskOverflowRangeRightsEnd() throws {
        let short = try bench.object("short", pages: 1)
        let beyond = try task.map(address: memory - 2 * page, size: 2 * page, anywhere: false, object: short)
        try bench.store.commit()
        bench.set(memory, 5)
        for behavior in MemoryBehavior.allCases {
            func set(_ address: UInt64, _ size: UInt64) throws { try task.setBehavior(address: address, size: size, behavior) }
            try check(.terminated, "task, overflow") { try gone.setBehavior(address: .max, size: .max, behavior) }
            try check(.terminated, "task, size 0") { try gone.setBehavior(address: 0, size: 0, behavior) }
            try check(.invalidArgument, "overflow, hole") { try set(hole, .max) }
            try check(.invalidAddress, "hole") { try set(hole - page, 2 * page) }
            guard behavior.changesBytes else { continue }
            try check(.invalidArgument, "overflow, no right") { try set(unwritable, .max) }
            try check(.invalidAddress, "a hole, no right above it") { try set(base, 13 * page) }
            try check(.protectionFailure, "no right, beyond the end below it") { try set(beyond, 5 * page) }
            try check(.invalidAddress, "a hole, beyond the end above it") { try set(base, 12 * page) }
            try check(.memoryError, "beyond the end") { try set(beyond, 4 * page) }
        }
        #expect(bench.word(memory) == 5)
    }

    @Test func wireChecksTaskBitsSizeOverflowThenEntriesFromTheLowest() throws {
        try check(.terminated, "task, bits") { try gone.wire(address: memory, size: page, access: bad) }
        try check(.terminated, "task, overflow") { try gone.wire(address: .max, size: .max, access: .read) }
        for (address, size) in [(memory, UInt64(0)), (hole, page), (unwritable, page)] {
            try check(.invalidArgument, "bits, \(size)") { try task.wire(address: address, size: size, access: bad) }
        }
        try check(.invalidArgument, "overflow, hole") { try task.wire(address: hole, size: .max, access: .read) }
        try check(.protectionFailure, "no right, a hole above it") { try task.wire(address: memory, size: 5 * page, access: .default) }
        try check(.invalidAddress, "a hole, no right above it") { try task.wire(address: base, size: 13 * page, access: .default) }
        try check(.invalidArgument, "not wired, a hole above it") { try task.wire(address: memory, size: 5 * page, access: .none) }
        try check(.invalidAddress, "a hole, not wired above it") { try task.wire(address: base, size: 13 * page, access: .none) }
    }

    @Test func memoryEntriesCheckTaskBitsSizeThenParentOrRange() throws {
        let parent = try task.makeMemoryEntry(address: memory, size: 2 * page, permission: .read)
        let other = try Bench()
        let stranger = try other.task.makeMemoryEntry(
            address: try other.task.allocate(size: 2 * page), size: 2 * page, permission: .read)
        func make(_ address: UInt64, _ size: UInt64, _ permission: Protection, _ parent: MemoryEntry? = nil, of: VMTask? = nil) throws {
            _ = try (of ?? task).makeMemoryEntry(address: address, size: size, permission: permission, parent: parent)
        }
        try check(.terminated, "task, bits") { try make(memory, page, bad, of: gone) }
        try check(.terminated, "task, size 0") { try make(memory, 0, .read, of: gone) }
        try check(.invalidArgument, "bits, hole") { try make(hole, page, bad) }
        try check(.invalidArgument, "size 0, hole") { try make(hole, 0, .read) }
        try check(.invalidArgument, "overflow, hole") { try make(hole, .max, .read) }
        try check(.protectionFailure, "rights, a hole above") { try make(memory, 5 * page, .default) }
        try check(.invalidAddress, "a hole, rights above") { try make(base, 13 * page, .default) }
        try check(.invalidArgument, "bits, wider than the parent") { try make(0, page, bad, parent) }
        try check(.invalidArgument, "size 0, another store's parent") { try make(0, 0, .read, stranger) }
        try check(.invalidObject, "another store's parent, wider") { try make(0, page, .all, stranger) }
        try check(.protectionFailure, "wider than the parent, beyond its size") { try make(5 * page, page, .default, parent) }
        try check(.invalidArgument, "beyond the parent's size") { try make(page, 2 * page, .read, parent) }
    }

    @Test func taskCreateChecksTheTaskThenTheName() throws {
        try check(.terminated, "task, no name") { _ = try gone.createChild(named: "") }
        try check(.terminated, "task, a name that is taken") { _ = try gone.createChild(named: "main") }
        try check(.nameExists, "a name that is taken") { _ = try task.createChild(named: "main") }
        try check(.invalidArgument, "no name") { _ = try task.createChild(named: "") }
    }

    /// The tasks of processes that are attached check in the same order.
    @Test func anAttachedProcesssTaskChecksInTheSameOrder() throws {
        let object = try bench.object("a", pages: 2)
        let remote = try RemoteStore.connect(bench.fixture.path), stranger = try Bench()
        let known = try remote.object(named: "a", rights: .read)
        _ = try stranger.object("b")
        let foreign = try RemoteStore.connect(stranger.fixture.path), strange = try foreign.object(named: "b")
        let ended = try remote.task(windowSize: 1 << 20), open = try remote.task(windowSize: 1 << 20)
        try ended.terminate()
        func code(_ wanted: KernReturn, _ what: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void) {
            let before = open.entries
            #expect(bench.code(body) == wanted, "\(what)", sourceLocation: sourceLocation)
            #expect(open.entries == before, sourceLocation: sourceLocation)
        }
        #expect(object.size == 2 * page)
        let taken = try open.allocate(size: 2 * page)
        code(.terminated, "task, bits") { try ended.map(size: 0, current: bad) }
        code(.terminated, "task, size 0") { try ended.allocate(size: 0) }
        code(.terminated, "task, wrapping") { try ended.allocate(address: .max, size: 2 * page, anywhere: false) }
        code(.terminated, "task, overflow") { try ended.deallocate(address: .max, size: .max) }
        code(.terminated, "task, bits") { try ended.protect(address: 0, size: 0, bad) }
        code(.terminated, "task, overflow") { try ended.inherit(address: .max, size: .max, .none) }
        code(.terminated, "task, nothing above") { _ = try ended.region(.max) }
        code(.terminated, "task") { try ended.terminate() }
        code(.invalidArgument, "bits, another store's object") { try open.map(size: page, object: strange, current: bad) }
        code(.invalidArgument, "size 0, another store's object") { try open.map(size: 0, object: strange) }
        code(.invalidArgument, "offset + size, another store's object") { try open.map(size: 2 * page, object: strange, offset: .max - 4095) }
        code(.invalidArgument, "offset, another store's object") { try open.map(size: page, object: strange, offset: 1) }
        code(.invalidObject, "another store's object, rights") { try open.map(size: page, object: strange, maximum: .all) }
        code(.invalidObject, "another store's object, place") { try open.map(address: taken, size: page, anywhere: false, object: strange) }
        code(.protectionFailure, "rights, place") { try open.map(address: taken, size: page, anywhere: false, object: known) }
        code(.noSpace, "mask, bounds") { try open.map(address: page, size: page, mask: page, anywhere: false) }
        code(.invalidAddress, "bounds, overlap") { try open.map(address: taken - page, size: 3 * page, anywhere: false) }
        code(.noSpace, "overlap") {
            try open.map(address: taken, size: page, anywhere: false, object: known, copy: true)
        }
        code(.invalidAddress, "allocate: wrapping") { try open.allocate(address: .max, size: 2 * page, anywhere: false) }
        code(.invalidArgument, "allocate: a size that rounds to 0") { try open.allocate(size: .max) }
        code(.invalidArgument, "bits, size 0") { try open.protect(address: taken, size: 0, bad) }
        code(.invalidArgument, "overflow, hole") { try open.protect(address: .max, size: .max, .read) }
        code(.invalidArgument, "overflow") { try open.deallocate(address: taken, size: .max) }
        code(.invalidAddress, "hole") { try open.protect(address: taken, size: 3 * page, .read) }
        remote.close()
        foreign.close()
        try stranger.store.close()
        try bench.store.close()
    }
}
