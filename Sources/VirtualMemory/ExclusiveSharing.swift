internal import AddressMap
internal import HostMemory
internal import PageStore
internal import VMTypes

/// A second use of an object of exclusive residency: what lies in its only mapping becomes memory that several share.
extension Store.Memory {
    /// An object's memory for one more mapping: as it is there, or brought there, or made of its exclusive mapping.
    ///
    /// Threads that access an exclusive mapping meanwhile wait; no store is lost. It becomes shared memory at the same
    /// addresses, with what is changed in it and not yet committed, until nothing maps it any more.
    mutating func shareable(_ id: ObjectID, _ store: Store) throws(VMError) -> MappedObject {
        guard let object = mapped[id], case .exclusive(let mapping) = object.home else { return try resident(id, store) }
        let made = try VMError.translating { () throws(StoreError) in try share(object, mapping, store) }
        // Pages are pinned where they are mapped.
        let range = mapping.range
        for task in tasks.values {
            for entry in task.map.pieces(in: range) where entry.backing.object == id && entry.wiredCount > 0 {
                try task.pin(entry, true, self)
            }
        }
        return made
    }

    private mutating func share(_ object: MappedObject, _ mapping: ExclusiveMapping, _ store: Store) throws(StoreError) -> MappedObject {
        let shared = try SharedMemory(
            pageCount: max(1, object.livePages.count), provider: object.pager, tracking: store.tracking, demandFill: store.demandFill)
        if !store.demandFill { try shared.fill(object.livePages) }
        let made = MappedObject(id: object.id, home: .shared(shared), pager: object.pager, size: object.size)
        made.needsView = object.needsView
        made.declared = object.declared
        made.handles = object.handles
        let range = mapping.range
        let protections = mapping.protectionRuns
        try HeldAccesses.hold(range) { () throws(StoreError) in
            do throws(StoreError) {
                try mapping.freeze()
                try carry(object, store)
            } catch {
                for (pages, protection) in protections { try? mapping.protect(pages, protection) }
                throw error
            }
            mapping.unmap()
            let carried = carried[object.id]
            do throws(StoreError) {
                for run in carried?.runs ?? [] { try shared.store(run, from: carried!.origin + run.start << Page.shift) }
                // Nobody gets at more than was allowed, and no store goes into memory that may have to be given up again.
                try made.map(range, offset: UInt64(mapping.pages.start) << UInt64(Page.shift), .none)
                for isWritable in [false, true] {
                    for (pages, protection) in protections where protection.contains(.write) == isWritable {
                        for part in made.mappings { try part.protect(pages, protection) }
                    }
                }
            } catch {
                made.unmapAll()
                try showAgain(object, mapping, protections, store)
                throw error
            }
        }
        made.pending = carried[object.id]?.runs ?? []
        carried[object.id] = nil
        mapped[object.id] = made
        return made
    }

    /// Makes the exclusive mapping anew, after its memory could not be shared.
    private mutating func showAgain(
        _ object: MappedObject, _ old: ExclusiveMapping, _ protections: [(PageRange, Protection)], _ store: Store
    ) throws(StoreError) {
        mapped[object.id] = nil
        let mapping = try ExclusiveMapping(
            address: old.address, pages: old.pages, provider: object.pager, writable: old.writable, tracking: store.tracking,
            demandFill: store.demandFill)
        let again = MappedObject(id: object.id, home: .exclusive(mapping), pager: object.pager, size: object.size)
        again.isRestricted = object.isRestricted
        again.declared = object.declared
        if let known = carried[object.id] {
            known.copy(to: mapping)
            again.pending = known.runs.map { $0.intersection(mapping.pages) }.filter { !$0.isEmpty }
            known.drop(mapping.pages)
            if known.runs.isEmpty { carried[object.id] = nil }
        }
        for (pages, protection) in protections where protection != .default { try mapping.protect(pages, protection) }
        mapped[object.id] = again
    }
}

extension ExclusiveMapping {
    /// The addresses that it covers.
    var range: Range<UInt64> { address..<address + UInt64(pages.count) << UInt64(Page.shift) }
}
