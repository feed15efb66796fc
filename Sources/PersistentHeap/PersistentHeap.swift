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
///
/// **Threads.** Allocating, freeing, roots and the collections' own changes may go on in several threads at once; what two threads
/// change in one value or one collection is theirs to guard. A commit or a transaction of one thread waits for the changes that
/// are under way, a store to a single value among them, and holds up others. A thread that makes several steps which belong
/// together, while another thread commits, makes them in `changing`, or in a transaction. Readers that want a state that stands still look at a version (`reading`).
///
/// **What a commit takes.** All of the store: every heap and every object that this process changed. Heaps of one store, opened
/// with `open(in:)`, commit, abandon and hold transactions together. A second process can't write; it opens versions.
public final class PersistentHeap: @unchecked Sendable {
    /// The store's folder.
    public var path: String { store.path }
    /// The store that the heap is an object of. Commits and abandonments go through the heap.
    public let store: Store
    /// The name of the heap's object; the task whose window it lies in has that name too.
    public let name: String
    /// The heap's memory, for collections.
    public let space: HeapSpace

    let isOwnStore: Bool
    let directory: RootDirectory
    /// Views of past states that this heap gave; they end with it.
    private let views = Mutex<[WeakView]>([])

    private struct WeakView { weak var view: PersistentHeap? }

    init(store: Store, name: String, space: HeapSpace, isOwnStore: Bool) {
        self.store = store
        self.name = name
        self.space = space
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
    /// - Throws: `.wrongState` within a transaction or a change; `.readOnly`; `.store`: nothing is lost, commit again, unless the
    ///   cause is `.unknownOutcome` or `.poisoned`: then reopen.
    @discardableResult
    public func commit(
        message: String = "", durability: Durability = .synced, declaredOnly: Bool = false, snapshot: String? = nil
    ) throws(HeapError) -> Version {
        try requireOutside("a commit")
        space.gate.close()
        defer { space.gate.open() }
        // It may have been closed while this thread waited.
        try space.requireWritable()
        return try commitClosed(message, durability, declaredOnly, snapshot)
    }

    /// Commits; the gate is closed.
    func commitClosed(_ message: String, _ durability: Durability, _ declaredOnly: Bool, _ snapshot: String?) throws(HeapError)
        -> Version
    {
        for space in space.gate.openSpaces { if let failure = space.failure { throw failure } }
        return try space.gate.calling { () throws(StoreError) in
            try store.commit(
                message: message, isSynced: durability == .synced, declaredOnly: declaredOnly, snapshot: snapshot)
        }
    }

    /// What went wrong, since the last abandonment, in a collection's setter or getter, which can't throw: the heap had no room
    /// for a value, which was not stored, or what it holds is damaged. Commits throw it.
    public var failure: HeapError? { space.failure }

    /// Puts everything back to the last commit, in place: every byte that changed since, in all of the store's heaps and
    /// mapped objects. Roots and references that were made since mean nothing afterwards.
    public func abandon() throws(HeapError) {
        try requireOutside("an abandonment")
        space.gate.close()
        defer { space.gate.open() }
        try abandonClosed()
    }

    /// Abandons; the gate is closed.
    func abandonClosed() throws(HeapError) {
        try space.gate.calling { () throws(StoreError) in try store.abandon() }
    }

    /// Makes the next version hold what `state` held, all of the store or, as a rule, the heap alone.
    ///
    /// What came between stays in the log and in snapshots. The heap shows the old bytes in place; roots and references from
    /// after that state mean nothing. Throws `.store` where something is uncommitted, or the state is no longer kept.
    @discardableResult
    public func rollback(to state: Store.State, message: String = "") throws(HeapError) -> Version {
        try requireOutside("a rollback")
        return try HeapError.translating { () throws(StoreError) in
            try store.rollback(to: state, object: name, message: message)
        }
    }

    /// Refuses what can't be done here, within a transaction or within a change.
    func requireOutside(_ what: String) throws(HeapError) {
        try space.requireWritable()
        if space.gate.isHeldHere {
            throw HeapError(.wrongState, "\(what) can't be made within a transaction", advice: "The transaction's end does it")
        }
        if space.gate.isChangingHere {
            throw HeapError(.wrongState, "\(what) can't be made within a change", advice: "Do it after the change")
        }
    }

    /// Closes the heap, views that it gave, and its store where `open(path)` opened that. What is not committed is lost.
    ///
    /// The heap's memory goes with this call (or with the last reference to the heap's store) and not before it. Any use of the
    /// heap, its roots or its collections afterwards throws, or stops the program. Closing again does nothing.
    /// Throws `.wrongState` within a transaction or a change; `.store` where the store could not be closed in order: nothing
    /// that was committed is lost.
    public func close() throws(HeapError) {
        guard !space.isClosed else { return }
        if !isReadOnly { try requireOutside("closing") }
        let views = views.withLock { views in
            defer { views = [] }
            return views.compactMap(\.view)
        }
        for view in views { try view.close() }
        if isReadOnly { space.close() } else { endChanges() }
        // With the gate open: the store's end waits for commits of attached processes, which ask for it.
        guard isOwnStore else { return }
        try HeapError.translating { () throws(StoreError) in try store.close() }
    }

    /// Ends what other threads do in the heap. The store's next commit takes what was declared.
    private func endChanges() {
        space.gate.close()
        defer { space.gate.open() }
        space.gate.tellDeclared()
        space.close()
    }

    /// Takes up a view that is to end with this heap.
    func adopt(_ view: PersistentHeap) {
        views.withLock { views in
            views.removeAll { $0.view == nil }
            views.append(WeakView(view: view))
        }
    }

    /// Runs steps that belong together: no commit or transaction of another thread comes between them.
    ///
    /// Changes of several threads go on at once. A commit within is `.wrongState`. Keep it short, and wait for nothing in it.
    public func changing<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        try space.changing(body)
    }

    // MARK: Values

    /// Puts a value into a block of its own.
    public func make<Value: Persistable>(_ value: Value) throws(HeapError) -> Ref<Value> {
        let offset = try space.allocate(byteCount: MemoryLayout<Value>.stride, alignment: MemoryLayout<Value>.alignment)
        space.store(value, at: offset)
        return Ref(offset: offset)
    }

    /// Takes raw memory of the heap, of at least `byteCount` bytes; declare what is written to it (`willWrite`), or commit
    /// without `declaredOnly`.
    ///
    /// - Parameter alignment: A power of two, 1 MiB at most.
    /// - Returns: Where it is; the pointer is valid in every process that has the heap at its home address.
    /// - Throws: `.full`, `.invalid`, `.readOnly`, `.wrongState`.
    public func allocate(byteCount: Int, alignment: Int = 16) throws(HeapError) -> UnsafeMutableRawPointer {
        space.base + (try space.allocate(byteCount: byteCount, alignment: alignment))
    }

    /// Gives raw memory back. Throws `.notAllocated` where no allocated block begins there.
    public func deallocate(_ pointer: UnsafeRawPointer) throws(HeapError) { try space.free(offset(of: pointer)) }

    /// Makes raw memory larger or smaller, in place or elsewhere; what it held is kept up to the smaller of both sizes.
    public func reallocate(_ pointer: UnsafeRawPointer, byteCount: Int, alignment: Int = 16) throws(HeapError)
        -> UnsafeMutableRawPointer
    {
        space.base + (try space.reallocate(offset(of: pointer), byteCount: byteCount, alignment: alignment))
    }

    /// The bytes that raw memory has: what was asked for, or somewhat more. Throws `.notAllocated`.
    public func usableSize(_ pointer: UnsafeRawPointer) throws(HeapError) -> Int { try space.usableSize(offset(of: pointer)) }

    /// Declares bytes of the heap that are about to be written through a raw pointer.
    ///
    /// Where other threads commit with `declaredOnly`, declare and write within `changing` or a transaction: a commit in between
    /// takes the declaration, and not what is written afterwards.
    public func willWrite(_ pointer: UnsafeRawPointer, byteCount: Int) {
        space.check(offset(of: pointer), byteCount)
        space.beginChange()
        defer { space.endChange() }
        if byteCount > 0 { space.willWrite(offset(of: pointer), byteCount) }
    }

    /// Bytes from the heap's base; outside the heap for a pointer outside.
    func offset(of pointer: UnsafeRawPointer) -> Int { Int(bitPattern: pointer) &- Int(bitPattern: space.base) }

    /// Gives the block of a value back. Throws `.notAllocated` where it was given back already.
    public func free<Value: Persistable>(_ ref: Ref<Value>) throws(HeapError) { try space.free(ref.offset) }

    /// The value that a reference leads to.
    @inlinable public subscript<Value: Persistable>(_ ref: Ref<Value>) -> Value {
        get { space.load(ref.offset) }
        set { space.store(newValue, at: ref.offset) }
        _modify {
            space.beginChange()
            defer { space.endChange() }
            space.check(ref.offset, MemoryLayout<Value>.size)
            space.willWrite(ref.offset, MemoryLayout<Value>.size)
            yield &(space.base + ref.offset).assumingMemoryBound(to: Value.self).pointee
        }
    }
}
