internal import AddressMap
internal import HostMemory
internal import PageStore
internal import VMTypes

/// What vm_msync does to a range.
extension VMTask {
    private typealias Committed = (version: Version, returns: Store.Memory.Returns)

    /// Commits everything; of the managers that it gives pages to, those of the range's objects are waited for.
    func commit(for range: Range<UInt64>, _ durability: Durability) throws(VMError) {
        try VMError.translating { () throws(StoreError) in
            let (version, returns) = try store.capturing { () throws(StoreError) -> Committed in
                try store.withMemory { (memory) throws(StoreError) -> Committed in
                    let version = try store.commit(
                        &memory, [], message: "", durability: durability, declaredOnly: false, mayTrade: false)
                    let pages = shownPages(in: range)
                    return (version, memory.takeReturns { pages[$0] != nil })
                }
            }
            try store.awaitReturns(returns, of: version)
        }
    }

    /// Puts the last committed bytes back into a range, after a commit of everything else where `durability` says how; where that
    /// fails, nothing has changed. Of heaps, what is kept beside their bytes goes along.
    func drop(_ range: Range<UInt64>, committingTheRest durability: Durability? = nil) throws(VMError) {
        var refusal: VMError?
        do throws(VMError) {
            try VMError.translating { () throws(StoreError) in
                let (version, returns) = try store.restoring(isWhole: false) { () throws(StoreError) -> Committed in
                    guard let durability else {
                        try store.withMemory { (memory) throws(StoreError) in
                            try checkAttached(memory, &refusal)
                            try store.drop(shownPages(in: range), memory)
                        }
                        return (Version(0), [])
                    }
                    return try store.capturing { () throws(StoreError) -> Committed in
                        try store.withMemory { (memory) throws(StoreError) -> Committed in
                            try checkAttached(memory, &refusal)
                            let pages = shownPages(in: range)
                            let version = try store.commit(dropping: pages, durability: durability, &memory)
                            let returns = memory.takeReturns { pages[$0] != nil }
                            try store.drop(pages, memory)
                            return (version, returns)
                        }
                    }
                }
                try store.refill()
                try store.awaitReturns(returns, of: version)
            }
        } catch { throw refusal ?? error }
    }

    /// `checkAttached`, among calls that throw the store's errors.
    private func checkAttached(_ memory: Store.Memory, _ refusal: inout VMError?) throws(StoreError) {
        do throws(VMError) { try checkAttached(memory) } catch {
            refusal = error
            throw StoreError(.wrongState, error.message)
        }
    }

    /// The pages that a range shows, by object.
    private func shownPages(in range: Range<UInt64>) -> [ObjectID: [PageRange]] {
        var pages: [ObjectID: [PageRange]] = [:]
        for entry in map.pieces(in: range) {
            if let id = entry.backing.object { pages[id, default: []].append(entry.pages) }
        }
        return pages
    }
}
