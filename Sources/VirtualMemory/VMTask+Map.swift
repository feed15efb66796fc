public import AddressMap
internal import Glibc
internal import HostMemory
public import PageStore
public import VMTypes

extension VMTask {
    /// Maps an object, or zero-filled memory where `object` is nil (vm_map).
    ///
    /// The order of checks is the reference's: task, protection bits, address and size, offset, object, placement.
    /// - Parameters:
    ///   - address: Where; with `anywhere`, the lowest address to look from.
    ///   - size: Bytes; rounded up to pages on its own. 0 is INVALID_ARGUMENT.
    ///   - mask: Bits that the address must not have.
    ///   - anywhere: Take the first gap at or above `address`, else exactly its page.
    ///   - offset: Page-aligned bytes into the object. May lie beyond its end: the access decides.
    ///   - copy: A private copy of the object as it is now, uncommitted bytes included.
    /// - Returns: The address.
    /// - Throws: INVALID_ARGUMENT, INVALID_ADDRESS, NO_SPACE, PROTECTION_FAILURE, INVALID_OBJECT (a dead one),
    ///   RESOURCE_SHORTAGE (the object is mapped already: objects have one mapping at a time in this version),
    ///   MEMORY_ERROR (its pages could not be given).
    @discardableResult
    public func map(
        address: UInt64 = 0, size: UInt64, mask: UInt64 = 0, anywhere: Bool = true, object: ObjectInfo? = nil,
        offset: UInt64 = 0, copy: Bool = false, current: Protection = .default, maximum: Protection = .all,
        inheritance: Inheritance = .copy
    ) throws(VMError) -> UInt64 {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
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
            guard offset % UInt64(Page.size) == 0 else {
                throw VMError(.invalidArgument, "offset \(offset) is not a multiple of \(Page.size)")
            }
            guard let object else {
                let range = try map.place(address: address, size: size, mask: mask, anywhere: anywhere)
                try insertFresh(range, bytes: length, current, maximum, inheritance, copied: false, &memory)
                return range.lowerBound
            }
            guard try VMError.translating({ () throws(StoreError) in try store.pages.object(object.id) })?.isLive == true else {
                throw VMError(.invalidObject, "object \(object.id) '\(object.name)' is dead")
            }
            if copy {
                let range = try map.place(address: address, size: size, mask: mask, anywhere: anywhere)
                try insertFresh(range, bytes: length, current, maximum, inheritance, copied: true, &memory)
                do throws(VMError) {
                    try copyIn(object, offset, to: range, &memory)
                } catch {
                    try? remove(range, &memory)
                    throw error
                }
                if let made = memory.mapped.values.first(where: { $0.mapping.address == range.lowerBound }) {
                    try apply(current, range, made)
                }
                return range.lowerBound
            }
            if memory.mapped[object.id] != nil {
                throw VMError(
                    .resourceShortage, "object \(object.id) '\(object.name)' is mapped already; deallocate that first")
            }
            let range = try map.place(address: address, size: size, mask: mask, anywhere: anywhere)
            let entry = MapEntry(
                start: range.lowerBound, end: range.upperBound, backing: .object(object.id, offset: offset), current: current,
                maximum: maximum, inheritance: inheritance)
            try back(entry, &memory)
            try insert(entry)
            return range.lowerBound
        }
    }

    /// Zero-filled memory, readable and writable (vm_allocate). A size of 0 does nothing and answers address 0.
    @discardableResult
    public func allocate(address: UInt64 = 0, size: UInt64, anywhere: Bool = true) throws(VMError) -> UInt64 {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            if size == 0 { return 0 }
            let range = try map.place(
                address: address, size: size, mask: 0, anywhere: anywhere, wrapping: .invalidAddress)
            try insertFresh(range, bytes: UInt64(range.count), .default, .all, .copy, copied: false, &memory)
            return range.lowerBound
        }
    }

    /// Ends the mappings in a range (vm_deallocate); what was changed in them is part of the next commit all the same.
    ///
    /// Holes are fine. In this version a range must not cut an object's mapping: NOT_SUPPORTED.
    public func deallocate(address: UInt64, size: UInt64) throws(VMError) {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard let range = try AddressMap.outward(address: address, size: size) else { return }
            for entry in map.entries(in: range) where entry.clipped(to: range) != entry {
                throw VMError(
                    .notSupported,
                    "\(hexadecimal(range)) cuts the mapping at \(hexadecimal(entry.range)); deallocate the whole of it")
            }
            try remove(range, &memory)
        }
    }

    /// Sets the current or, shrinking it for good, the maximum protection of a range (vm_protect); the MMU enforces it.
    public func protect(address: UInt64, size: UInt64, setMaximum: Bool = false, _ protection: Protection) throws(VMError) {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard let range = try AddressMap.outward(address: address, size: size) else { return }
            let changes = try map.protect(range, setMaximum: setMaximum, protection)
            for change in changes where change.before != change.after {
                noteChange(change.range)
                guard case .object(let id, _) = change.after.backing, let object = memory.mapped[id] else { continue }
                try apply(change.after.current, change.range, object)
            }
        }
    }

    /// Sets what a child receives of a range (vm_inherit); holes are fine.
    public func inherit(address: UInt64, size: UInt64, _ inheritance: Inheritance) throws(VMError) {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard let range = try AddressMap.outward(address: address, size: size) else { return }
            for change in map.inherit(range, inheritance) { noteChange(change.range) }
        }
    }

    /// The region that contains `address`, else the next one above (vm_region); INVALID_ADDRESS where there is none.
    public func region(_ address: UInt64) throws(VMError) -> MapEntry {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard let entry = map.lookupOrNext(address) else {
                throw VMError(.invalidAddress, "no region lies at or above 0x\(String(address, radix: 16))")
            }
            return entry
        }
    }

    // MARK: Pieces

    private func checkAttached(_ memory: Store.Memory) throws(VMError) {
        guard !memory.isClosed, memory.tasks[id] != nil else {
            throw VMError(.terminated, "task '\(name)' is no longer attached")
        }
    }

    private func insert(_ entry: MapEntry) throws(VMError) {
        try map.insert(entry)
        noteChange(entry.range)
    }

    /// A nameless object of zeros, made durable with the next commit, mapped in `range`.
    private func insertFresh(
        _ range: Range<UInt64>, bytes: UInt64, _ current: Protection, _ maximum: Protection, _ inheritance: Inheritance,
        copied: Bool, _ memory: inout Store.Memory
    ) throws(VMError) {
        guard store.isWriter else { throw VMError(.noAccess, "the store is open for reading") }
        let id = ObjectID(store.pages.newID())
        let pager = StorePager(view: nil, size: bytes, fileDescriptor: store.pages.pageFileDescriptor)
        let entry = MapEntry(
            start: range.lowerBound, end: range.upperBound, backing: .object(id, offset: 0), current: current,
            maximum: maximum, inheritance: inheritance, copied: copied)
        try back(entry, pager: pager, size: bytes, protection: copied ? .default : current, &memory)
        memory.operations.append(.createObject(id: id, name: "", size: bytes, residency: .exclusive))
        try insert(entry)
    }

    /// Puts the object's pages behind an entry.
    func back(_ entry: MapEntry, _ memory: inout Store.Memory) throws(VMError) {
        guard case .object(let id, _) = entry.backing else { return }
        // A merge between making the view and mapping from it would leave what was mapped unpinned: then once more.
        while true {
            let (view, pager) = try VMError.translating { () throws(StoreError) in
                let view = try store.pages.head(of: id)
                if store.checksOnMap { try store.checkAll(view) }
                return (view, StorePager(view: view, size: view.size, fileDescriptor: view.fileDescriptor))
            }
            try back(entry, pager: pager, size: view.size, protection: entry.current, &memory)
            if view.isCurrent { return }
            memory.mapped.removeValue(forKey: id)?.mapping.unmap()
        }
    }

    private func back(
        _ entry: MapEntry, pager: StorePager, size: UInt64, protection: Protection, _ memory: inout Store.Memory
    ) throws(VMError) {
        guard case .object(let id, let offset) = entry.backing else { return }
        try VMError.translating { () throws(StoreError) in
            let mapping = try ExclusiveMapping(
                address: entry.start,
                pages: PageRange(start: Int(offset) >> Page.shift, count: Int(entry.end - entry.start) >> Page.shift),
                provider: pager, writable: store.isWriter, tracking: store.tracking, demandFill: store.demandFill)
            let object = MappedObject(id: id, mapping: mapping, pager: pager, size: size)
            if let carried = memory.carried.removeValue(forKey: id) {
                for run in carried.runs {
                    memcpy(mapping.pointer(toPage: run.start), carried.origin + run.start * Page.size, run.count * Page.size)
                }
            }
            memory.mapped[id] = object
        }
        if protection != .default, let object = memory.mapped[id] { try apply(protection, entry.range, object) }
    }

    /// Enforces a protection on the pages of a range that lie within the object.
    private func apply(_ protection: Protection, _ range: Range<UInt64>, _ object: MappedObject) throws(VMError) {
        let first = object.mapping.pages.start + Int(range.lowerBound - object.mapping.address) >> Page.shift
        let end = min(first + range.count >> Page.shift, Page.count(forBytes: Int(object.size)))
        guard end > first else { return }
        try VMError.translating { () throws(StoreError) in
            try object.mapping.protect(PageRange(start: first, count: end - first), protection)
        }
        if !protection.contains(.read) { object.isRestricted = true }
    }

    /// Fills fresh memory with what the object holds now: mapped bytes where it is mapped, else committed ones.
    private func copyIn(_ object: ObjectInfo, _ offset: UInt64, to range: Range<UInt64>, _ memory: inout Store.Memory)
        throws(VMError)
    {
        let first = Int(offset) >> Page.shift
        try VMError.translating { () throws(StoreError) in
            let view = try store.pages.head(of: object.id)
            let end = min(first + range.count >> Page.shift, view.pageCount)
            let mapped = memory.mapped[object.id]
            var page = first
            while page < end {
                let target = pointer(range.lowerBound) + (page - first) * Page.size
                if let mapped, mapped.mapping.pages.contains(page) {
                    let count = min(end, mapped.mapping.pages.end) - page
                    try mapped.mapping.copyOut(PageRange(start: page, count: count), into: target)
                    page += count
                } else {
                    let stop = mapped.map { page < $0.mapping.pages.start ? min(end, $0.mapping.pages.start) : end } ?? end
                    for run in view.extents(in: PageRange(start: page, count: stop - page)) where run.extent != .zeros {
                        try view.read(run.pages, into: pointer(range.lowerBound) + (run.pages.start - first) * Page.size)
                    }
                    page = stop
                }
            }
        }
    }

    /// Unmaps whole entries; bytes that were changed and not committed are kept for the next commit.
    private func remove(_ range: Range<UInt64>, _ memory: inout Store.Memory) throws(VMError) {
        for entry in map.entries(in: range) {
            guard case .object(let id, _) = entry.backing, let object = memory.mapped[id] else { continue }
            try VMError.translating { () throws(StoreError) in
                var runs = object.pending
                if object.mapping.writable { try object.mapping.takeDirty(into: &runs) }
                object.pending = joined(runs)
                if !object.pending.isEmpty { memory.carried[id] = try CarriedPages(object, object.pending) }
            }
            object.mapping.unmap()
            memory.mapped[id] = nil
        }
        if !map.remove(range).isEmpty { noteChange(range) }
    }

    /// Makes the map what the last commit left.
    func revertMap(_ memory: inout Store.Memory) throws(StoreError) {
        guard let range = changed else { return }
        let old = Set(committedMap.entries(in: range))
        for entry in map.entries(in: range) where !old.contains(entry) {
            if case .object(let id, _) = entry.backing { memory.mapped.removeValue(forKey: id)?.mapping.unmap() }
        }
        map = committedMap
        changed = nil
        for entry in committedMap.entries(in: range) {
            guard case .object(let id, _) = entry.backing, memory.mapped[id] == nil else { continue }
            do throws(VMError) { try back(entry, &memory) } catch {
                throw StoreError(.io, "a region could not be mapped again: \(error.message)", path: store.path)
            }
        }
    }
}

extension VMError {
    /// Runs what may fail in the store, and answers in the calls' own codes.
    static func translating<Result>(_ body: () throws(StoreError) -> Result) throws(VMError) -> Result {
        do throws(StoreError) {
            return try body()
        } catch {
            let code: KernReturn =
                switch error.code {
                case .full, .busy: .resourceShortage
                case .notFound: .invalidObject
                case .damaged, .io, .changedWhileRead, .unknownOutcome: .memoryError
                case .readOnly, .locked: .noAccess
                case .unsupported: .notSupported
                case .addressTaken: .noSpace
                default: .failure
                }
            throw VMError(code, error.description)
        }
    }
}

func hexadecimal(_ range: Range<UInt64>) -> String {
    "0x\(String(range.lowerBound, radix: 16))-0x\(String(range.upperBound, radix: 16))"
}
