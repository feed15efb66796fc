internal import AddressMap
public import VMTypes

extension VMTask {
    /// Maps the memory behind a range of a task here, too (vm_remap): the same memory, or a copy of it as it is now.
    ///
    /// - Parameters:
    ///   - size: Bytes; rounded up to pages on its own. 0 is INVALID_ARGUMENT.
    ///   - mask: Bits that the address must not have.
    ///   - source: The task that has the range; this one, perhaps.
    ///   - sourceAddress: Where the range begins, rounded down to its page.
    /// - Returns: The address, and the most restrictive protections in the range; each region keeps its own.
    /// - Throws: INVALID_ARGUMENT, INVALID_TASK (the source is terminated, or another store's), INVALID_ADDRESS (a hole in
    ///   the source), NO_SPACE, RESOURCE_SHORTAGE (the host lacks memory or mappings), MEMORY_ERROR, TERMINATED.
    @discardableResult
    public func remap(
        address: UInt64 = 0, size: UInt64, mask: UInt64 = 0, anywhere: Bool = true, source: VMTask, sourceAddress: UInt64,
        copy: Bool = false, inheritance: Inheritance = .copy
    ) throws(VMError) -> (address: UInt64, current: Protection, maximum: Protection) {
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            guard source.store === store, memory.tasks[source.id] === source else {
                throw VMError(.invalidTask, "the source task '\(source.name)' is not attached in this store")
            }
            let length = try AddressMap.length(address: address, size: size, anywhere: anywhere)
            let start = Page.trunc(sourceAddress)
            guard !start.addingReportingOverflow(length).overflow else {
                throw VMError(.invalidArgument, "the source range at 0x\(String(sourceAddress, radix: 16)) wraps")
            }
            let entries = try source.checkedPieces(in: start..<start + length) { _ in nil }
            var sources: [MapSource] = []
            var current = Protection.all, maximum = Protection.all
            for entry in entries {
                guard let id = entry.backing.object else { continue }
                current.formIntersection(entry.current)
                maximum.formIntersection(entry.maximum)
                sources.append(
                    MapSource(
                        object: .known(id), offset: entry.backing.offset, length: entry.length,
                        attributes: Attributes(
                            current: entry.current, maximum: entry.maximum, inheritance: inheritance, copied: copy)))
            }
            if copy { sources = try copies(of: sources, &memory) }
            let attributes = Attributes(current: current, maximum: maximum, inheritance: inheritance, copied: copy)
            let spot = Spot(address: address, size: size, mask: mask, anywhere: anywhere)
            return (try place(sources, at: spot, attributes, &memory), current, maximum)
        }
    }
}
