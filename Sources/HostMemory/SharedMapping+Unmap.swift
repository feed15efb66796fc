internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

extension SharedMapping {
    /// Makes the range a bare reservation again, without looking at what was stored: the bytes stay in the memory, and
    /// nobody is told which changed. A second call does nothing.
    public func unmap() {
        try? memory.locked { () throws(StoreError) in
            guard placement.isMapped else { return }
            retire(placement)
            // Closed first: nothing is placed once another mapping may be at these addresses.
            placement.closeRegion()
            try? SystemCall.reserveUnforked(address, pages.count << Page.shift)
            placement.tracker = nil
        }
    }

    /// Makes `part` a bare reservation again, and appends its pages that were stored to, in order.
    ///
    /// A store that comes before the pages are unmapped is found; a later one raises SIGSEGV. Stores into the rest go on
    /// all the while.
    ///
    /// - Returns: The mappings that remain: none, one, or two. This one is used up, and only they may be called.
    /// - Throws: `.full` at the host's limit of mappings; the mapping is then as it was, unless `dirty` has grown: then
    ///   `part` can't be accessed any more, and the call can be made again.
    public func unmap(_ part: PageRange, dirty: inout [PageRange]) throws(StoreError) -> [SharedMapping] {
        guard part.count > 0 else { throw StoreError(.invalid, "No page of \(pages) is named to be unmapped") }
        return try working(on: part) { () throws(StoreError) in
            let live = part.intersection(placement.live)
            if live.count > 0, let tracker = placement.tracker { try tracker.leave(live, into: &dirty) }
            let rest = [
                PageRange(start: pages.start, count: part.start - pages.start),
                PageRange(start: part.end, count: pages.end - part.end),
            ].filter { $0.count > 0 }.map(remaining)
            // Closed before the addresses are free; those that remain are served by regions of their own.
            let region = placement.region
            placement.closeRegion()
            do throws(StoreError) {
                try SystemCall.reserveUnforked(placement.address(of: part.start), part.count << Page.shift)
            } catch {
                for placement in rest { placement.closeRegion() }
                if let region {
                    region.state.withLock { $0.isClosed = false }
                    FaultService.add(region)
                    placement.region = region
                }
                throw error
            }
            retire(placement)
            placement.tracker = nil
            for placement in rest { memory.placements[ObjectIdentifier(placement)] = placement }
            MappingBudget.use(rest.count)
            return rest.map { SharedMapping(memory, $0) }
        }
    }

    private func retire(_ placement: SharedPlacement) {
        placement.isMapped = false
        memory.placements[ObjectIdentifier(placement)] = nil
        MappingBudget.use(-1)
    }

    private func remaining(_ part: PageRange) -> SharedPlacement {
        let made = SharedPlacement(
            address: placement.address(of: part.start), pages: part, live: part.intersection(placement.live),
            writable: writable, arms: placement.arms, standard: placement.standard)
        made.protections = placement.protections
        guard made.live.count > 0 else { return made }
        if let old = placement.region {
            let region = memory.addRegion(made.address, made.live, arms: made.arms)
            let (poisoned, lastError) = old.state.withLock { ($0.poisoned, $0.lastError) }
            region.state.withLock {
                $0.poisoned = poisoned.filter(made.live.contains)
                $0.lastError = lastError
            }
            made.region = region
        }
        made.tracker = placement.tracker?.remaining(made.live, made.region)
        return made
    }
}

extension SystemCall {
    /// Puts an inaccessible reservation over the range, which a forked child doesn't get.
    static func reserveUnforked(_ address: UInt64, _ byteCount: Int) throws(StoreError) {
        try reserve(address, byteCount)
        try? advise(address, byteCount, Int32(MADV_DONTFORK))
    }
}
