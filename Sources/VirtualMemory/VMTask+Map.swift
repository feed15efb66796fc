internal import AddressMap
internal import HostMemory
internal import PageStore
public import VMTypes

extension VMTask {
    /// Maps an object, or zero-filled memory where `object` is nil (vm_map).
    ///
    /// The order of checks is the reference's: task, protection bits, address and size, offset, kind of object, rights,
    /// range within a memory entry, making the copy, placement.
    /// - Parameters:
    ///   - address: Where; with `anywhere`, the lowest address to look from.
    ///   - size: Bytes; rounded up to pages on its own. 0 is INVALID_ARGUMENT.
    ///   - mask: Bits that the address must not have.
    ///   - anywhere: Take the first gap at or above `address`, else exactly its page.
    ///   - object: An object, a port to one, or a memory entry.
    ///   - offset: Page-aligned bytes into the object; without meaning for zero-filled memory. May lie beyond its end: the access decides.
    ///   - copy: A private copy of the object as it is now, uncommitted bytes included. It ends where the object does.
    /// - Returns: The address.
    /// - Throws: INVALID_ARGUMENT, INVALID_ADDRESS, NO_SPACE, PROTECTION_FAILURE (beyond the port's rights),
    ///   INVALID_OBJECT (a dead one), RESOURCE_SHORTAGE (the host lacks memory or mappings), MEMORY_ERROR (its pages could not be given), TERMINATED.
    @discardableResult
    public func map(
        address: UInt64 = 0, size: UInt64, mask: UInt64 = 0, anywhere: Bool = true, object: (any MemoryPort)? = nil,
        offset: UInt64 = 0, copy: Bool = false, current: Protection = .default, maximum: Protection = .all,
        inheritance: Inheritance = .copy
    ) throws(VMError) -> UInt64 {
        try store.withManagers { (memory) throws(VMError) in
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
            let spot = Spot(address: address, size: size, mask: mask, anywhere: anywhere)
            let attributes = Attributes(current: current, maximum: maximum, inheritance: inheritance, copied: copy)
            guard let right = object?.right else {
                // Nothing is made for what has no place.
                _ = try map.place(address: address, size: size, mask: mask, anywhere: anywhere)
                let fresh = try memory.fresh(size: length, store)
                let source = MapSource(object: .fresh(fresh), offset: 0, length: length)
                return try place([source], at: spot, attributes.asFresh, &memory)
            }
            guard offset % UInt64(Page.size) == 0 else {
                throw VMError(.invalidArgument, "offset \(offset) is not a multiple of \(Page.size)")
            }
            try checkLive(right, &memory)
            guard (copy ? Protection.read : current.union(maximum)).isSubset(of: right.rights) else {
                throw VMError(.protectionFailure, "\(maximum) exceeds the \(right.rights) that the object's port permits")
            }
            var sources = try right.sources(offset: offset, size: size, length: length)
            if copy { sources = try copies(of: sources, &memory) }
            return try place(sources, at: spot, attributes, &memory)
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
            let object = try memory.fresh(size: UInt64(range.count), store)
            try insert(fresh: object, range, offset: 0, .default, .all, .copy, copied: false, &memory)
            return range.lowerBound
        }
    }

    /// Ends the mappings in a range (vm_deallocate): entries are clipped, holes are fine. What was changed in a named
    /// object is part of the next commit all the same; memory without a name ends with its last mapping.
    ///
    /// A mapping of exclusive memory that is cut becomes shared memory.
    ///
    /// - Throws: INVALID_ARGUMENT where the range wraps; RESOURCE_SHORTAGE at a limit of the host; MEMORY_ERROR where the host could not say what was changed; TERMINATED.
    public func deallocate(address: UInt64, size: UInt64) throws(VMError) {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard let range = try AddressMap.outward(address: address, size: size) else { return }
            try remove(range, &memory)
        }
    }

    /// Sets the current or, shrinking it for good, the maximum protection of a range (vm_protect); the MMU enforces it.
    ///
    /// - Throws: INVALID_ADDRESS at a hole, PROTECTION_FAILURE beyond an entry's maximum, INVALID_ARGUMENT, TERMINATED;
    ///   nothing has changed then.
    public func protect(address: UInt64, size: UInt64, setMaximum: Bool = false, _ protection: Protection) throws(VMError) {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard protection.isWellFormed else {
                throw VMError(.invalidArgument, "protection \(protection.rawValue) has bits outside read, write and execute")
            }
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

    func checkAttached(_ memory: Store.Memory) throws(VMError) {
        guard !memory.isClosed, memory.tasks[id] === self else {
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
                case .damaged, .io, .changedWhileRead, .unknownOutcome, .notReturned: .memoryError
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
