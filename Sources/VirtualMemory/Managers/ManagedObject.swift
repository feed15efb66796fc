internal import Synchronization
public import VMTypes

/// An object whose pages a memory manager answers for, to be mapped like any other.
///
/// It is volatile: its pages live with the manager, none in the store. Regions that show it are no part of what a commit
/// makes durable, and are absent when the task is attached again. A copy of it (`copy: true`, an inherited copy, a copying
/// memory entry) is an ordinary object of the store: its pages are asked for at the call, and never change later.
///
/// The object ends when nothing maps it and no `ManagedObject` is left, at the next commit; or by `terminate`, or
/// `destroy`. Thread-safe.
public final class ManagedObject: MemoryPort, Sendable {
    public let id: ObjectID
    /// Bytes.
    public let size: UInt64
    /// The accesses that a mapping may ever allow.
    public let rights: Protection
    /// What the manager can do, its owner can do too.
    public let control: MemoryObjectControl
    private let store: Store

    init(_ pager: ManagedPager, rights: Protection) {
        id = pager.id
        size = pager.size
        store = pager.store
        control = MemoryObjectControl(pager)
        self.rights = rights
    }

    deinit { store.handlesToRelease.withLock { $0.append(id) } }

    public var right: MemoryRight { MemoryRight(kind: .managed(id, store), rights: rights) }

    /// A port with fewer rights, to hand on; it does not keep the object alive.
    public func port(rights: Protection) -> ObjectPort {
        ObjectPort(object: id, name: "", rights: rights.intersection(self.rights))
    }

    /// Ends the manager's service, in order: what commits took is returned, then the manager's `terminate` is called.
    ///
    /// Pages in memory stay as they are; others can't be had any more. Mapping it is INVALID_OBJECT. What was stored since
    /// the last commit is returned to nobody, and the next commit says so: commit first. A second call does nothing.
    public func terminate() { control.terminate() }
}

/// A manager's side of an object: what it may ask of the store (a memory object's control port). Thread-safe.
public struct MemoryObjectControl: Sendable {
    let pager: ManagedPager

    init(_ pager: ManagedPager) { self.pager = pager }

    public var object: ObjectID { pager.id }
    /// Bytes.
    public var size: UInt64 { pager.size }

    /// How the object is asked for.
    public var attributes: ManagerAttributes { pager.state.withLock { $0.attributes } }

    /// Changes how the object is asked for, from the next request on (memory_object_change_attributes).
    /// INVALID_ARGUMENT, for values out of their range.
    public func changeAttributes(_ attributes: ManagerAttributes) throws(VMError) {
        try attributes.check()
        pager.change(attributes)
    }

    /// What `lockRequest` does with pages.
    public struct LockActions: OptionSet, Hashable, Sendable {
        public let rawValue: Int
        public init(rawValue: Int) { self.rawValue = rawValue }

        /// Pages that were stored to are returned (`dataReturn`), without a commit; soon, and before later calls.
        public static let `return` = LockActions(rawValue: 1)
        /// Pages go out of memory and are asked for again when they are needed. Without `return`, what was stored to them
        /// since the last commit is lost. Where nothing fills on demand they are asked for at once, and the old bytes show
        /// until they come.
        public static let flush = LockActions(rawValue: 2)
    }

    /// Has pages returned, flushed, or both (memory_object_lock_request); the range is rounded outward to pages.
    ///
    /// Nobody may store to the pages while they are flushed: such a store may be lost.
    ///
    /// - Throws: INVALID_ARGUMENT where the range passes the object's end or wraps; INVALID_OBJECT where the object has ended;
    ///   RESOURCE_SHORTAGE, MEMORY_ERROR where the host fails.
    public func lockRequest(offset: UInt64, size: UInt64, _ actions: LockActions) throws(VMError) {
        let (end, wraps) = offset.addingReportingOverflow(size)
        guard !wraps, end <= (Page.round(pager.size) ?? .max) else {
            throw VMError(.invalidArgument, "\(size) bytes at offset \(offset) pass the \(pager.size) bytes of object \(object)")
        }
        guard size > 0, !actions.isEmpty else { return }
        let first = Int(offset >> UInt64(Page.shift))
        let range = PageRange(start: first, count: Page.count(forBytes: Int(end)) - first)
        try pager.store.lockRequest(pager, range, actions)
    }

    /// Ends the object for good (memory_object_destroy): every access to it, wherever it is mapped, raises SIGBUS from now
    /// on, and calls throw MEMORY_FAILURE with `reason`. What is not returned is lost. A second call does nothing.
    public func destroy(reason: String) throws(VMError) { try pager.store.destroy(pager, reason) }

    /// Ends the manager's service, in order; see `ManagedObject.terminate`.
    public func terminate() { pager.end(ManagedPager.Ending(reason: "it was terminated")) }
}
