internal import Varve

/// A store of the lab that is open, with its task and heap.
final class CrashlabStore {
    static let task = "main"
    static let heap = "heap"
    static let root = "words"

    let store: Store
    let task: VMTask
    let heap: PersistentHeap
    let words: PersistentDictionary<Int, Int>
    /// Where slot 0 of the task lies.
    let base: UInt64

    static func path(in folder: String) -> String { folder + "/store" }

    /// Makes what the model begins with, by several commits.
    static func create(in folder: String) throws {
        try Store.create(path(in: folder), options: .init(ringBytes: 256 << 10))
        let store = try Store.open(path(in: folder))
        try store.setRetention(Retention(versions: 4, seconds: 0))
        let heap = try PersistentHeap.open(in: store, options: .init(capacity: 1 << 20, name: heap))
        _ = try heap.root(root, of: PersistentDictionary<Int, Int>.self)
        try heap.commit()
        let task = try store.task(named: task)
        let count = CrashlabModel().state.objects["first"]!.pageCount
        let object = try store.createObject(named: "first", size: UInt64(count * CrashlabPage.size))
        try task.map(address: task.windowBase + CrashlabModel.slotBytes, size: UInt64(count * CrashlabPage.size), anywhere: false, object: object)
        try store.commit()
        try heap.close()
        try store.close()
    }

    /// Opens it; `rollBackTo` is done before tasks are attached.
    convenience init(in folder: String, rollBackTo snapshot: String? = nil) throws {
        let store = try Store.open(Self.path(in: folder))
        if let snapshot { try store.rollback(to: .snapshot(snapshot)) }
        try self.init(store)
    }

    /// Attaches the task and opens the heap.
    init(_ store: Store) throws {
        self.store = store
        heap = try PersistentHeap.open(in: store, options: .init(capacity: 1 << 20, name: Self.heap))
        words = try heap.root(Self.root, of: PersistentDictionary<Int, Int>.self)
        task = try store.task(named: Self.task)
        base = task.windowBase + CrashlabModel.slotBytes
    }

    func address(_ slot: Int) -> UInt64 { base + UInt64(slot) * CrashlabModel.slotBytes }

    /// A page that is about to be stored to: where it can't be had, this says so, and a plain access would raise SIGBUS.
    func place(_ slot: Int, page: Int) throws -> UnsafeMutableRawPointer {
        let address = address(slot) + UInt64(page * CrashlabPage.size)
        _ = try task.read(address: address, size: 1)
        return task.pointer(address)
    }

    func close() throws {
        try heap.close()
        try store.close()
    }
}
