internal import Synchronization
public import VirtualMemory
public import VMTypes

/// A heap in a file: what lies in it outlives the process.
///
/// ```swift
/// let heap = try PersistentHeap.open("counter.varve")
/// let n = try heap.root("n", of: Int.self, default: 0)
/// n.value += 1
/// try heap.commit()
/// ```
///
/// Values are ordinary memory, reached through named roots, references (`Ref`) and collections. Nothing is durable before a
/// commit; a commit makes all of the heap's changes, those of the allocator too, one version of the store, or none of them.
public final class PersistentHeap: @unchecked Sendable {
    /// The store's folder.
    public var path: String { store.path }
    /// The store that the heap is an object of. Commits and abandonments go through the heap.
    public let store: Store
    /// The name of the heap's object, and of the task whose window it lies in.
    public let name: String
    /// The heap's memory, for collections.
    public let space: HeapSpace

    let isOwnStore: Bool
    let directory: RootDirectory
    let task: VMTask?

    init(store: Store, name: String, space: HeapSpace, task: VMTask?, isOwnStore: Bool) throws(HeapError) {
        self.store = store
        self.name = name
        self.space = space
        self.task = task
        self.isOwnStore = isOwnStore
        directory = RootDirectory(space)
    }

    /// Whether the heap shows a past state, or is open for reading.
    public var isReadOnly: Bool { space.isReadOnly }
    /// Whether the heap is elsewhere than at its home address: then only `Ref`s mean something.
    public var isRelocated: Bool { space.isRelocated }
    /// Bytes that the heap can grow to, its own tables included.
    public var capacity: Int { space.geometry.capacity }

    // MARK: Commits

    /// When a commit returns.
    public enum Durability: Sendable {
        /// Once it is on the disk.
        case synced
        /// At once: a power cut may lose it, with those after it and never one before it; a killed process loses nothing.
        case deferred
    }

    /// Makes everything that changed durable, as one version; all of it or nothing.
    ///
    /// A commit is of the whole store: other heaps and objects of it that this process changed are part of the version.
    /// - Parameters:
    ///   - message: What the log says of the commit.
    ///   - durability: `.synced` returns when the version is on the disk.
    ///   - declaredOnly: Take what typed references, collections and `willWrite` declared, without asking the kernel which
    ///     pages were stored to: cheaper in a large heap, and wrong where the program stores through raw pointers.
    ///   - snapshot: A name for the new version.
    /// - Returns: The version; the last one where nothing has changed.
    @discardableResult
    public func commit(
        message: String = "", durability: Durability = .synced, declaredOnly: Bool = false, snapshot: String? = nil
    ) throws(HeapError) -> Version {
        try space.requireWritable()
        guard let task else { throw HeapError(.readOnly, "the heap is open for reading") }
        if let failure = space.failure { throw failure }
        space.gate.close()
        defer { space.gate.open() }
        let base = task.windowBase
        space.tables.takeDeclared { first, count in
            if declaredOnly { task.touch(address: base + UInt64(first) << 12, size: UInt64(count) << 12) }
        }
        return try HeapError.translating { () throws(StoreError) in
            try store.commit(message: message, isSynced: durability == .synced, declaredOnly: declaredOnly, snapshot: snapshot)
        }
    }

    /// What went wrong, since the last abandonment, in a collection's setter or getter, which can't throw: the heap had no room
    /// for a value, which was not stored, or what it holds is damaged. Commits throw it.
    public var failure: HeapError? { space.failure }

    /// Puts the heap back to the last commit, in place: every byte that changed since.
    public func abandon() throws(HeapError) {
        try space.requireWritable()
        space.gate.close()
        defer { space.gate.open() }
        try HeapError.translating { () throws(StoreError) in try store.abandon() }
        space.tables.takeDeclared { _, _ in }
        space.forgetFailure()
        space.forgetBlocks()
        directory.forget()
    }

    /// Closes the heap, and its store where `open(path)` opened that. What is not committed is lost.
    ///
    /// The heap's memory goes with this call and not before it. Any use of the heap, its roots or its collections afterwards
    /// throws, or stops the program. Closing again does nothing.
    public func close() throws(HeapError) {
        guard !space.isClosed else { return }
        space.close()
        guard isOwnStore else { return }
        try HeapError.translating { () throws(StoreError) in try store.close() }
    }

    // MARK: Values

    /// Puts a value into a block of its own.
    public func make<Value: Persistable>(_ value: Value) throws(HeapError) -> Ref<Value> {
        let offset = try space.allocate(byteCount: MemoryLayout<Value>.stride, alignment: MemoryLayout<Value>.alignment)
        space.store(value, at: offset)
        return Ref(offset: offset)
    }

    /// Gives the block of a value back. Throws `.notAllocated` where it was given back already.
    public func free<Value: Persistable>(_ ref: Ref<Value>) throws(HeapError) { try space.free(ref.offset) }

    /// The value that a reference leads to.
    @inlinable public subscript<Value: Persistable>(_ ref: Ref<Value>) -> Value {
        get { space.load(ref.offset) }
        set { space.store(newValue, at: ref.offset) }
        _modify {
            space.check(ref.offset, MemoryLayout<Value>.size)
            space.willWrite(ref.offset, MemoryLayout<Value>.size)
            yield &(space.base + ref.offset).assumingMemoryBound(to: Value.self).pointee
        }
    }
}
