public import AddressMap
public import HostMemory
internal import Synchronization
public import VMTypes

/// An address space of a process that is attached to a store: a window of host addresses in which it maps objects.
///
/// It lasts as long as the process and is no part of the store. The calls have `VMTask`'s checks and codes. Thread-safe.
/// What is mapped stays accessible when the serving process has ended; nobody commits it then. A forked child gets each
/// region as its inheritance says.
public final class RemoteTask: ForkParticipant, @unchecked Sendable {
    /// What an entry's bytes come from.
    private enum Source {
        case object(RemoteObject)
        /// Zeros, or a copy.
        case own(ForeignMemory)

        var memory: ForeignMemory {
            switch self {
            case .object(let object): object.memory
            case .own(let memory): memory
            }
        }
    }

    /// A source, and how far beyond the page that an entry names its first page lies there: an object without bytes has none,
    /// but its memory has a page.
    private struct Shown {
        var source: Source
        var shift = 0

        func pages(_ entry: MapEntry) -> PageRange { PageRange(start: entry.pages.start + shift, count: entry.pages.count) }
    }

    /// The store that it is attached to.
    public let store: RemoteStore
    private let window: AddressWindow
    private let generation = ForkedChild.generation
    private let lock = Mutex(())
    /// Guarded by `lock`, like all that follows.
    private var map: AddressMap
    /// By the numbers that stand for objects in the map: each mapping call makes its own.
    private var sources: [ObjectID: Shown] = [:]
    private var lastSource: UInt64 = 0
    private var isTerminated = false

    init(store: RemoteStore, windowBase: UInt64? = nil, windowSize: UInt64) throws(StoreError) {
        self.store = store
        window = try AddressWindow(base: windowBase, byteCount: Int(clamping: windowSize))
        map = AddressMap(bounds: window.base..<window.base + UInt64(window.byteCount))
        try ForkHooks.add(self)
    }

    /// The window's first address.
    public var windowBase: UInt64 { window.base }
    /// Bytes of the window.
    public var windowSize: UInt64 { UInt64(window.byteCount) }

    /// Where an address of the task is in this process: there.
    public func pointer(_ address: UInt64) -> UnsafeMutableRawPointer { UnsafeMutableRawPointer(bitPattern: UInt(address))! }

    /// Every region, by address. The numbers of their objects are the task's own.
    public var entries: [MapEntry] {
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        return Array(map.entries)
    }

    /// Maps an object of the store, or zero-filled memory where `object` is nil (vm_map). See `VMTask.map`.
    ///
    /// With `copy`, the object's bytes are copied at the call, as they are then.
    /// - Throws: INVALID_ARGUMENT, INVALID_ADDRESS, NO_SPACE, PROTECTION_FAILURE (beyond the port's rights), INVALID_OBJECT
    ///   (of another store), RESOURCE_SHORTAGE, TERMINATED.
    @discardableResult
    public func map(
        address: UInt64 = 0, size: UInt64, mask: UInt64 = 0, anywhere: Bool = true, object: RemoteObject? = nil,
        offset: UInt64 = 0, copy: Bool = false, current: Protection = .default, maximum: Protection = .all,
        inheritance: Inheritance = .copy
    ) throws(VMError) -> UInt64 {
        try locked { () throws(VMError) in
            guard current.isWellFormed, maximum.isWellFormed else {
                throw VMError(.invalidArgument, "protection bits outside read, write and execute")
            }
            guard current.isSubset(of: maximum) else {
                throw VMError(.invalidArgument, "current protection \(current) is not within maximum \(maximum)")
            }
            let length = try AddressMap.length(address: address, size: size, anywhere: anywhere)
            guard !offset.addingReportingOverflow(size).overflow, !offset.addingReportingOverflow(length).overflow else {
                throw VMError(.invalidArgument, "offset \(offset) + size \(size) wraps")
            }
            guard object == nil || offset % UInt64(Page.size) == 0 else {
                throw VMError(.invalidArgument, "offset \(offset) is not a multiple of \(Page.size)")
            }
            if let object {
                guard object.store === store else { throw VMError(.invalidObject, "'\(object.name)' belongs to another store") }
                guard (copy ? Protection.read : current.union(maximum)).isSubset(of: object.rights) else {
                    throw VMError(
                        .protectionFailure, "\(maximum) exceeds the \(object.rights) that the port to '\(object.name)' permits")
                }
            }
            let range = try map.place(address: address, size: size, mask: mask, anywhere: anywhere)
            let (source, first) = try source(object, offset: offset, length: length, copy: copy)
            lastSource += 1
            let id = ObjectID(lastSource)
            let start = object == nil ? 0 : offset
            let entry = MapEntry(
                start: range.lowerBound, end: range.upperBound, backing: .object(id, offset: start),
                current: current, maximum: maximum, inheritance: inheritance, copied: copy && object != nil)
            let pages = PageRange(start: first, count: range.count >> Page.shift)
            try VMError.translating { () throws(StoreError) in
                try source.memory.map(pages, at: range.lowerBound, current)
            }
            do throws(VMError) { try map.insert(entry) } catch {
                try? window.clear(address: range.lowerBound, byteCount: range.count)
                throw error
            }
            sources[id] = Shown(source: source, shift: first - Int(start >> UInt64(Page.shift)))
            return range.lowerBound
        }
    }

    /// Zero-filled memory, readable and writable (vm_allocate). A size of 0 does nothing and answers address 0. Each takes a
    /// descriptor of the process.
    @discardableResult
    public func allocate(address: UInt64 = 0, size: UInt64, anywhere: Bool = true) throws(VMError) -> UInt64 {
        try locked { () throws(VMError) in
            guard size > 0, !anywhere else { return }
            _ = try AddressMap.length(address: address, size: size, anywhere: false, wrapping: .invalidAddress)
        }
        return size == 0 ? 0 : try map(address: address, size: size, anywhere: anywhere)
    }

    /// Ends the mappings in a range (vm_deallocate): entries are clipped, holes are fine.
    public func deallocate(address: UInt64, size: UInt64) throws(VMError) {
        try locked { () throws(VMError) in
            guard let range = try AddressMap.outward(address: address, size: size)?.clamped(to: map.bounds), !range.isEmpty
            else { return }
            let pieces = map.pieces(in: range)
            for piece in pieces {
                try VMError.translating { () throws(StoreError) in
                    try window.clear(address: piece.start, byteCount: Int(piece.length))
                }
                map.remove(piece.range)
            }
            // An object's port goes with its last mapping.
            let left = Set(pieces.compactMap(\.backing.object))
            let used = Set(map.entries.compactMap(\.backing.object))
            for id in left.subtracting(used) { sources[id] = nil }
        }
    }

    /// Sets the current or, shrinking it for good, the maximum protection of a range (vm_protect); the MMU enforces it.
    ///
    /// - Throws: INVALID_ADDRESS at a hole, PROTECTION_FAILURE beyond an entry's maximum, INVALID_ARGUMENT, TERMINATED;
    ///   nothing has changed then.
    public func protect(address: UInt64, size: UInt64, setMaximum: Bool = false, _ protection: Protection) throws(VMError) {
        try locked { () throws(VMError) in
            guard protection.isWellFormed else {
                throw VMError(.invalidArgument, "protection \(protection.rawValue) has bits outside read, write and execute")
            }
            guard let range = try AddressMap.outward(address: address, size: size) else { return }
            var after = map
            let changes = try after.protect(range, setMaximum: setMaximum, protection)
            func enforce(_ entry: MapEntry) throws(StoreError) {
                try ForeignMemory.protect(address: entry.start, byteCount: Int(entry.length), entry.current)
            }
            do throws(VMError) {
                for change in changes where change.before.current != change.after.current {
                    try VMError.translating { () throws(StoreError) in try enforce(change.after) }
                }
            } catch {
                for change in changes { try? enforce(change.before) }
                throw error
            }
            map = after
        }
    }

    /// Sets what a forked child receives of a range (vm_inherit); holes are fine.
    public func inherit(address: UInt64, size: UInt64, _ inheritance: Inheritance) throws(VMError) {
        try locked { () throws(VMError) in
            guard let range = try AddressMap.outward(address: address, size: size) else { return }
            map.inherit(range, inheritance)
        }
    }

    /// The region that contains `address`, else the next one above (vm_region).
    ///
    /// Pages that differ from the last commit are not known here: none is counted as dirty.
    /// - Throws: INVALID_ADDRESS where there is none; MEMORY_ERROR; TERMINATED.
    public func region(_ address: UInt64) throws(VMError) -> RegionInfo {
        try locked { () throws(VMError) in
            guard let entry = map.lookupOrNext(address) else {
                throw VMError(.invalidAddress, "no region lies at or above 0x\(String(address, radix: 16))")
            }
            var info = RegionInfo(
                start: entry.start, end: entry.end, current: entry.current, maximum: entry.maximum,
                inheritance: entry.inheritance, isShared: false, object: nil, offset: entry.backing.offset,
                isCopied: entry.copied, wiredCount: 0, residentPages: 0, dirtyPages: 0, swappedPages: 0)
            guard let id = entry.backing.object, let shown = sources[id] else { return info }
            if case .object(let object) = shown.source {
                info.object = object.id
                info.isShared = true
            }
            info.residentPages = try VMError.translating { () throws(StoreError) in
                try shown.source.memory.presentPageCount(in: shown.pages(entry))
            }
            return info
        }
    }

    /// Ends the task: every region is dropped, and every later call is TERMINATED.
    public func terminate() throws(VMError) {
        try locked { () throws(VMError) in
            isTerminated = true
            window.release()
            map = AddressMap(bounds: map.bounds)
            sources = [:]
        }
    }

    /// What a mapping call shows, and the first page of it.
    private func source(_ object: RemoteObject?, offset: UInt64, length: UInt64, copy: Bool) throws(VMError) -> (Source, Int) {
        let count = Int(clamping: length >> UInt64(Page.shift))
        guard let object else {
            return (.own(try VMError.translating { () throws(StoreError) in try ForeignMemory(pageCount: count) }), 0)
        }
        // Memory has a page at least; that of an object without bytes lies beyond its end.
        let first = Int(clamping: offset >> UInt64(Page.shift)) + (object.size == 0 ? 1 : 0)
        guard copy else { return (.object(object), first) }
        let wanted = PageRange(start: first, count: count).intersection(object.livePages)
        // A copy ends where the object does.
        let own = try VMError.translating { () throws(StoreError) in
            let made = try ForeignMemory(pageCount: max(1, wanted.count > 0 ? wanted.end : 1))
            try made.copy(wanted, from: object.memory)
            return made
        }
        return (.own(own), wanted.count > 0 ? first : max(first, 1))
    }

    // MARK: Inheriting

    /// Maps what this process was started with.
    func receive(_ regions: [InheritedRegion], _ file: (Int) throws(StoreError) -> ForeignMemory) throws(StoreError) {
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        var objects: [UInt64: RemoteObject] = [:]
        for region in regions {
            var entry = MapEntry(
                start: region.start, end: region.end, current: Protection(rawValue: region.current),
                maximum: Protection(rawValue: region.maximum), inheritance: Inheritance(rawValue: region.inheritance) ?? .none,
                copied: region.isCopied)
            var source: Source?
            if let number = region.file, region.page >= 0 {
                let whole = try file(number)
                let part = try ForeignMemory(PageRange(start: region.first, count: region.count), of: whole)
                if let port = region.port, let id = region.object {
                    let object = objects[port] ?? RemoteObject(
                        store: store, port: port, id: ObjectID(id), name: "", size: region.size,
                        rights: whole.isWritable ? .all : [.read, .execute], memory: part)
                    objects[port] = object
                    source = Source.object(object)
                } else {
                    source = Source.own(part)
                }
                lastSource += 1
                entry.backing = Backing.object(ObjectID(lastSource), offset: UInt64(region.page) << UInt64(Page.shift))
            }
            do throws(VMError) { try map.insert(entry) } catch {
                throw StoreError(.io, "The process that started this one sent a region that can't be: \(error.message)")
            }
            guard let source, let id = entry.backing.object else { continue }
            try source.memory.map(entry.pages, at: entry.start, entry.current)
            sources[id] = Shown(source: source)
        }
    }

    // MARK: fork

    public func prepareFork(_ plan: ForkPlan) {
        lock._unsafeLock()
        for entry in map.entries where entry.inheritance != .none {
            guard let id = entry.backing.object, let shown = sources[id] else { continue }
            // What can't be left is absent in the child.
            if entry.inheritance == .share {
                try? shown.source.memory.share(shown.pages(entry), at: entry.start, in: plan)
            } else {
                try? shown.source.memory.copy(shown.pages(entry), at: entry.start, entry.current, in: plan)
            }
        }
    }

    public func forkIsOver() { lock._unsafeUnlock() }

    private func locked<Result>(_ body: () throws(VMError) -> Result) throws(VMError) -> Result {
        guard generation == ForkedChild.generation else { throw VMError(.terminated, ForkedChild.refusal.description) }
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        guard !isTerminated else { throw VMError(.terminated, "the task was terminated") }
        return try body()
    }
}
