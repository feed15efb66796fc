internal import AddressMap
internal import HostMemory
internal import PageStore
package import VMTypes

/// What the persistent heap asks of its store, without the words of the modules below.
extension Store {
    /// Where a heap's object lies.
    package struct HeapRegion: Sendable {
        package var address: UInt64
        package var byteCount: Int
        /// No commit has ever stored a byte there.
        package var isUnwritten: Bool
    }

    /// The first region of a task.
    package func firstRegion(of task: VMTask) -> HeapRegion? {
        task.entries.first.map { HeapRegion(address: $0.start, byteCount: Int($0.end - $0.start), isUnwritten: false) }
    }

    /// Brings the first bytes of a heap into memory, so that a disk that fails is an error of its opening and no signal.
    package func loadHeader(of region: HeapRegion) throws(StoreError) {
        try Population.load(address: region.address, byteCount: min(Page.size, region.byteCount))
    }

    /// Maps the object of that name into a task; makes it, of exclusive residency, where it is not there.
    package func mapHeap(named name: String, byteCount: Int, in task: VMTask) throws(StoreError) -> HeapRegion {
        let object: ObjectInfo
        do throws(StoreError) { object = try liveObject(name) } catch {
            guard error.code == .notFound else { throw error }
            object = try createObject(named: name, size: UInt64(byteCount), residency: .exclusive)
        }
        guard object.residency == .exclusive else {
            throw StoreError(
                .unsupported, "object '\(name)' has shared residency, so that it is no heap", advice: "Give the heap another name",
                path: path)
        }
        let view = try pages.head(of: object.id)
        let isUnwritten = view.extents(in: PageRange(start: 0, count: view.pageCount)).allSatisfy { $0.extent == .zeros }
        do throws(VMError) {
            let address = try task.map(size: object.size, object: object)
            return HeapRegion(address: address, byteCount: Int(object.size), isUnwritten: isUnwritten)
        } catch {
            throw StoreError(
                error.code == .resourceShortage ? .full : .io, "the heap '\(name)' can't be mapped: \(error.message)", path: path)
        }
    }

    /// Undoes what opening a heap did to a task that had no region: unmaps everything, and lets go of a task that is new.
    package func takeBack(_ task: VMTask) {
        withMemory { memory in
            if task.isSaved { try? task.remove(task.map.bounds, &memory) } else { task.discard(&memory) }
        }
    }

    /// `commit`, where durability is a yes or a no.
    package func commit(message: String, isSynced: Bool, declaredOnly: Bool, snapshot: String?) throws(StoreError) -> Version {
        try commit(
            message: message, durability: isSynced ? .synced : .deferred, declaredOnly: declaredOnly, snapshot: snapshot)
    }
}
