public import VirtualMemory
internal import VMTypes

extension PersistentHeap {
    /// The heap as it was at a version or a snapshot, read-only, beside this one.
    ///
    /// Nothing of it ever changes. It lies at an address of the host's choice: references and collections work there, raw
    /// pointers don't. Any number may be open; each keeps its version from being given up. It ends with its last
    /// reference, with `close`, or with this heap.
    ///
    /// Throws `.store` where the state is not there or no longer kept, or the heap was not there then.
    public func at(_ state: Store.State) throws(HeapError) -> PersistentHeap {
        if space.isClosed { throw HeapError(.wrongState, "the heap was closed", advice: "Open it again") }
        let view = try Self.view(store, name, state, isOwnStore: false)
        adopt(view)
        return view
    }

    /// Runs `body` with the heap as it was at a version or a snapshot, while others go on changing it.
    ///
    /// ```swift
    /// let before = try heap.reading(at: .snapshot("monday")) { try $0.root("n", of: Int.self, default: 0).value }
    /// ```
    public func reading<Result>(at state: Store.State, _ body: (PersistentHeap) throws -> Result) throws -> Result {
        let view = try at(state)
        let result: Result
        do { result = try body(view) } catch {
            try? view.close()
            throw error
        }
        try view.close()
        return result
    }

    /// Opens the heap at a path as it was at a version or a snapshot (`.head`: as the last commit left it), read-only, also
    /// beside a process that writes it.
    ///
    /// Throws `.store` (no store, no such state, no such heap).
    public static func open(_ path: String, at state: Store.State, options: Options = Options()) throws(HeapError) -> PersistentHeap {
        var open = options.open
        open.access = .read
        let store = try HeapError.translating { () throws(StoreError) in try Store.open(path, options: open) }
        do throws(HeapError) { return try view(store, options.name, state, isOwnStore: true) } catch {
            try? store.close()
            throw error
        }
    }

    private static func view(_ store: Store, _ name: String, _ state: Store.State, isOwnStore: Bool) throws(HeapError) -> PersistentHeap {
        let mapped = try HeapError.translating { () throws(StoreError) in
            try store.mapState(Store.ObjectReference(name: name, state: state))
        }
        let bytes = mapped.bytes
        let geometry = try checkedGeometry(bytes.baseAddress!, bytes: bytes.count)
        let space = try HeapSpace(
            base: UnsafeMutableRawPointer(mutating: bytes.baseAddress!), geometry: geometry, isRelocated: true, task: nil,
            state: mapped, gate: WriteGate.of(store))
        return PersistentHeap(store: store, name: name, space: space, isOwnStore: isOwnStore)
    }
}
