internal import Varve

/// What a handle of a store names.
final class StoreHandle: Sendable {
    let store: Store
    init(_ store: Store) { self.store = store }
}

/// What a handle of a task names.
final class TaskHandle: Sendable {
    let task: VMTask
    let store: Store

    init(_ task: VMTask, of store: Store) {
        self.task = task
        self.store = store
    }
}

/// What a handle names of a store that another process serves.
final class RemoteHandle: Sendable {
    let store: RemoteStore
    init(_ store: RemoteStore) { self.store = store }
}

/// What a handle of an object of such a store names.
final class RemoteObjectHandle: Sendable {
    let object: RemoteObject
    init(_ object: RemoteObject) { self.object = object }
}

/// What a handle of a task of such a store names; it may be the one that started this program.
final class RemoteTaskHandle: Sendable {
    let task: RemoteTask
    init(_ task: RemoteTask) { self.task = task }
}

/// What a handle of something that vm_map takes names.
final class ObjectHandle: Sendable {
    enum Kind: Sendable {
        case object(ObjectInfo)
        case port(ObjectPort)
        case entry(MemoryEntry)
        /// The owner's, of an object with a memory manager.
        case managed(ManagedObject)
        /// The manager's, of the same.
        case control(MemoryObjectControl)
    }

    let kind: Kind
    let store: Store

    init(_ kind: Kind, of store: Store) {
        self.kind = kind
        self.store = store
    }

    /// Nil for what can't be mapped.
    var port: (any MemoryPort)? {
        switch kind {
        case .object(let object): object
        case .port(let port): port
        case .entry(let entry): entry
        case .managed(let object): object
        case .control: nil
        }
    }
}

/// What a handle of a mapped state names: an object's or a task's, mapped while it lives.
final class StateHandle: Sendable {
    private let mapped: any HandleTable.Object
    init(_ mapped: any HandleTable.Object) { self.mapped = mapped }
}

// MARK: Looking up

private func describe(_ handle: UnsafeRawPointer?) -> String {
    guard let handle else { return "NULL" }
    return "0x" + String(UInt(bitPattern: handle), radix: 16)
}

private let advice = "Give one that was not released, in the process that made it"

private func find<Wanted: AnyObject & Sendable>(_ handle: OpaquePointer?, _: Wanted.Type) -> Wanted? {
    HandleTable.shared.object(handle.map { UnsafeRawPointer($0) }) as? Wanted
}

func store(_ handle: OpaquePointer?) throws(StoreError) -> Store {
    if let found = find(handle, StoreHandle.self) { return found.store }
    throw invalid(handle, "a store")
}

func object(_ handle: OpaquePointer?) throws(StoreError) -> ObjectHandle {
    if let found = find(handle, ObjectHandle.self) { return found }
    throw invalid(handle, "an object")
}

func invalid(_ handle: OpaquePointer?, _ kind: String) -> StoreError {
    if HandleTable.isOfForkedChild { return forked }
    return StoreError(.invalid, "\(describe(handle.map { UnsafeRawPointer($0) })) is no handle of \(kind)", advice: advice)
}

private var forked: StoreError {
    StoreError(
        .wrongState, "a forked child has nothing of the stores that its parent opened",
        advice: "Call from the parent, or open the store after the fork")
}

func task(_ handle: OpaquePointer?) throws(VMError) -> TaskHandle {
    if let found = find(handle, TaskHandle.self) { return found }
    if find(handle, RemoteTaskHandle.self) != nil {
        throw VMError(.notSupported, "the call is for tasks of a store that is open here; another process serves this one's")
    }
    throw VMError(
        .invalidTask,
        HandleTable.isOfForkedChild
            ? "a forked child has none of its parent's tasks"
            : "\(describe(handle.map { UnsafeRawPointer($0) })) is no handle of a task")
}

/// The task of a handle that varve_task_inherited or varve_remote_task gave; nil for others.
func remoteTask(_ handle: OpaquePointer?) -> RemoteTask? { find(handle, RemoteTaskHandle.self)?.task }

func remote(_ handle: OpaquePointer?) throws(StoreError) -> RemoteStore {
    if let found = find(handle, RemoteHandle.self) { return found.store }
    throw invalid(handle, "a store that another process serves")
}

/// What vm_map maps in such a task: nil for the null object.
func remoteObject(_ handle: OpaquePointer?) throws(VMError) -> RemoteObject? {
    guard let handle else { return nil }
    if let found = find(handle, RemoteObjectHandle.self) { return found.object }
    throw VMError(.invalidObject, "\(describe(UnsafeRawPointer(handle))) is no handle of an object of this connection")
}

/// What vm_map maps: nil for the null object, `MemoryRight.none` for what `task`'s store has no object behind.
func port(_ handle: OpaquePointer?, for task: TaskHandle) -> (any MemoryPort)? {
    guard handle != nil else { return nil }
    guard let found = find(handle, ObjectHandle.self), found.store === task.store else { return NoObject() }
    return found.port ?? NoObject()
}

/// A handle that names no memory object of the store: vm_map says so when its turn comes.
private struct NoObject: MemoryPort {
    var right: MemoryRight { .none }
}

func memoryEntry(_ handle: OpaquePointer?, for task: TaskHandle) throws(VMError) -> MemoryEntry? {
    guard let handle else { return nil }
    guard let found = find(handle, ObjectHandle.self), found.store === task.store, case .entry(let entry) = found.kind else {
        try requireAlive(task.task)
        throw VMError(.invalidObject, "\(describe(UnsafeRawPointer(handle))) is no handle of a memory entry of this store")
    }
    return entry
}

// MARK: Giving out

/// A forked child can't be given handles: said before anything is done for them.
func requireNoFork() throws(StoreError) { if HandleTable.isOfForkedChild { throw forked } }

func newHandle(_ object: any HandleTable.Object) throws(StoreError) -> OpaquePointer {
    guard let handle = HandleTable.shared.add(object) else { throw forked }
    return handle
}

/// For what a task made; a task's handle was found, so that this is no forked child.
func newHandle(ofTask object: any HandleTable.Object) throws(VMError) -> OpaquePointer {
    guard let handle = HandleTable.shared.add(object) else {
        throw VMError(.invalidTask, "a forked child has none of its parent's tasks")
    }
    return handle
}

/// Ends a handle of any kind, if that has not been done.
func endHandle(_ handle: OpaquePointer) { _ = HandleTable.shared.remove(UnsafeRawPointer(handle)) { _ in true } }

/// Ends a handle that varve_release may end: any but a store's, a connection's or a heap's.
func release(_ handle: UnsafeRawPointer) throws(StoreError) {
    let isReleased = HandleTable.shared.remove(handle) { !($0 is StoreHandle || $0 is RemoteHandle || $0 is HeapHandle) }
    if isReleased { return }
    if HandleTable.isOfForkedChild { throw forked }
    switch HandleTable.shared.object(handle) {
    case is StoreHandle: throw StoreError(.invalid, "\(describe(handle)) is a store's handle", advice: "Call varve_store_close")
    case is RemoteHandle:
        throw StoreError(.invalid, "\(describe(handle)) is a connection's handle", advice: "Call varve_remote_close")
    case is HeapHandle: throw StoreError(.invalid, "\(describe(handle)) is a heap's handle", advice: "Call varve_heap_close")
    default: break
    }
    throw StoreError(.invalid, "\(describe(handle)) is no handle", advice: advice)
}

/// Ends a store's handle and answers what it named; one of several threads that close it gets it.
func takeStore(_ handle: OpaquePointer?) throws(StoreError) -> Store {
    let found = try store(handle)
    guard let handle, HandleTable.shared.remove(UnsafeRawPointer(handle), where: { $0 is StoreHandle }) else {
        throw invalid(handle, "a store")
    }
    return found
}
