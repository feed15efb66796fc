package import VirtualMemory
internal import VMTypes

extension PersistentHeap {
    /// A kept state of a heap, or its last commit, read-only and elsewhere than at its home address.
    ///
    /// It never changes, and its memory goes with the last reference to it or its space. Throws `.store` (`.notFound`,
    /// `.notRetained`), `.damaged`, `.newerFormat`.
    package static func view(of store: Store, name: String, at state: Store.State) throws(HeapError) -> PersistentHeap {
        let mapped = try HeapError.translating { () throws(StoreError) in
            try store.mapState(Store.ObjectReference(name: name, state: state))
        }
        let bytes = mapped.bytes
        guard let base = bytes.baseAddress else { throw HeapError(.damaged, "the object '\(name)' is empty, and holds no heap") }
        let geometry = try checkedGeometry(base, bytes: bytes.count)
        let space = try HeapSpace(
            base: UnsafeMutableRawPointer(mutating: base), geometry: geometry, isReadOnly: true, isRelocated: true, owner: mapped,
            gate: WriteGate.of(store))
        return try PersistentHeap(store: store, name: name, space: space, task: nil, isOwnStore: false)
    }
}
