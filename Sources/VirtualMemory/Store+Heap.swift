internal import AddressMap
internal import PageStore
package import VMTypes

/// What the persistent heap asks of its store, without the words of the modules below.
extension Store {
    /// Where a heap's object lies.
    package struct HeapRegion: Sendable {
        package var address: UInt64
        package var byteCount: Int
    }

    /// The first region of a task.
    package func firstRegion(of task: VMTask) -> HeapRegion? {
        task.entries.first.map { HeapRegion(address: $0.start, byteCount: Int($0.end - $0.start)) }
    }

    /// Maps the object of that name into a task; makes it, of exclusive residency, where it is not there.
    package func mapHeap(named name: String, byteCount: Int, in task: VMTask) throws(StoreError) -> HeapRegion {
        let object: ObjectInfo
        do throws(StoreError) { object = try liveObject(name) } catch {
            guard error.code == .notFound else { throw error }
            object = try createObject(named: name, size: UInt64(byteCount), residency: .exclusive)
        }
        do throws(VMError) {
            return HeapRegion(address: try task.map(size: object.size, object: object), byteCount: Int(object.size))
        } catch {
            throw StoreError(
                error.code == .resourceShortage ? .full : .io, "the heap '\(name)' can't be mapped: \(error.message)", path: path)
        }
    }

    /// `commit`, where durability is a yes or a no.
    package func commit(message: String, isSynced: Bool, declaredOnly: Bool, snapshot: String?) throws(StoreError) -> Version {
        try commit(
            message: message, durability: isSynced ? .synced : .deferred, declaredOnly: declaredOnly, snapshot: snapshot)
    }
}
