internal import HostMemory
internal import VMTypes

/// What a commit gives to managers once its version is made.
extension Store {
    func beginReturns(
        _ returned: [(object: MappedObject, pages: [PageBytes])], _ version: Version, _ memory: inout Memory
    ) {
        for (object, pages) in returned {
            guard let managed = object.managed else { continue }
            managed.keep(pages)
            object.pending.removeAll(keepingCapacity: true)
            if let pending = managed.beginReturn(version) { memory.returns.append((managed, pending)) }
        }
    }

    /// Waits until managers have taken what a commit gave them; without any lock.
    func awaitReturns(_ returns: [(pager: ManagedPager, pending: PendingReturn)], of version: Version) throws(StoreError) {
        var failures: [String] = []
        for (pager, pending) in returns {
            guard let reason = pager.failure(of: pending) else { continue }
            failures.append("\(pending.pages.pageCount) pages of object \(pager.id) were not taken: \(reason)")
        }
        guard !failures.isEmpty else { return }
        throw StoreError(
            .notReturned, "version \(version) stands, but " + failures.joined(separator: "; "),
            advice: "See to the memory managers; the next commit returns what they can still take", path: path)
    }
}

extension Store.Memory {
    typealias Returns = [(pager: ManagedPager, pending: PendingReturn)]

    /// What commits gave to managers, for whoever is going to wait for it; nobody waits for what is not `wanted`.
    mutating func takeReturns(_ wanted: (ObjectID) -> Bool = { _ in true }) -> Returns {
        defer { returns = [] }
        for (pager, pending) in returns where !wanted(pager.id) { pager.leave(pending) }
        return returns.filter { wanted($0.pager.id) }
    }
}
