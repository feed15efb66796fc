public import AddressMap
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
    ///   - offset: Page-aligned bytes into the object; without meaning for zero-filled memory. May lie beyond its end: the access decides.
    ///   - copy: A private copy of the object as it is now, uncommitted bytes included. It ends where the object does.
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
            guard let object else {
                let range = try map.place(address: address, size: size, mask: mask, anywhere: anywhere)
                try insertFresh(range, bytes: length, current, maximum, inheritance, copied: false, &memory)
                return range.lowerBound
            }
            guard offset % UInt64(Page.size) == 0 else {
                throw VMError(.invalidArgument, "offset \(offset) is not a multiple of \(Page.size)")
            }
            guard try VMError.translating({ () throws(StoreError) in try store.pages.object(object.id) })?.isLive == true else {
                throw VMError(.invalidObject, "object \(object.id) '\(object.name)' is dead")
            }
            if copy {
                let range = try map.place(address: address, size: size, mask: mask, anywhere: anywhere)
                let view = try VMError.translating { () throws(StoreError) in try store.pages.head(of: object.id) }
                let held = view.size > offset ? min(length, view.size - offset) : 0
                let before = memory
                try insertFresh(range, bytes: held, current, maximum, inheritance, copied: true, &memory) {
                    (made) throws(VMError) in try copyIn(object.id, view, offset, to: made, before)
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
            try back(Placement(entry)!, &memory)
            try map.insert(entry)
            noteChange(entry.range)
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
            for placement in map.placements(in: range)
            where placement.range.lowerBound < range.lowerBound || placement.range.upperBound > range.upperBound {
                throw VMError(
                    .notSupported,
                    "\(hexadecimal(range)) cuts the mapping at \(hexadecimal(placement.range)); deallocate the whole of it")
            }
            try remove(range, &memory)
        }
    }

    /// Sets the current or, shrinking it for good, the maximum protection of a range (vm_protect); the MMU enforces it.
    public func protect(address: UInt64, size: UInt64, setMaximum: Bool = false, _ protection: Protection) throws(VMError) {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard let range = try AddressMap.outward(address: address, size: size) else { return }
            var after = map
            let changes = try after.protect(range, setMaximum: setMaximum, protection)
            do throws(VMError) {
                for change in changes where change.before.current != change.after.current {
                    try enforce(change.after, memory)
                }
            } catch {
                for change in changes { try? enforce(change.before, memory) }
                throw error
            }
            map = after
            for change in changes { noteChange(change.range) }
        }
    }

    private func enforce(_ entry: MapEntry, _ memory: Store.Memory) throws(VMError) {
        guard let id = entry.backing.object, let object = memory.mapped[id] else { return }
        try apply(entry, object, isDefault: false)
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
