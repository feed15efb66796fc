internal import AddressMap
internal import HostMemory
internal import PageStore
internal import VMTypes

extension Store {
    /// What this process has mapped and not yet committed; guarded by the store's lock.
    struct Memory {
        var mapped: [ObjectID: MappedObject] = [:]
        var tasks: [TaskID: VMTask] = [:]
        /// Nameless objects that the next commit makes.
        var created: Set<ObjectID> = []
        /// Nameless objects that nothing shows any more: the next commit deletes them.
        var deleted: Set<ObjectID> = []
        /// Tasks that the next commit deletes.
        var terminated: [TaskID: String] = [:]
        /// Memory that was abandoned before a commit made it, while a forked child has it: nobody else gets it.
        var lent: [MappedObject] = []
        /// Objects of exclusive residency, unmapped with bytes that are not yet committed.
        var carried: [ObjectID: CarriedPages] = [:]
        /// Every object that a memory manager serves or served: commits leave their regions out.
        var volatile: Set<ObjectID> = []
        /// What the call that holds the lock found missing.
        var awaited: Awaited?
        /// What the last commits gave to managers, until somebody waits for it.
        var returns: [(pager: ManagedPager, pending: PendingReturn)] = []
        var isClosed = false
        /// The fewest pages that vm_copy copies when they are touched: fewer are moved faster than an object is made for them.
        var leastLazyCopy = 256
        /// Where nameless memory lives; made when it is first needed.
        private var arena: MemoryArena?
        /// Objects that saved tasks show which nobody has attached; nil where that is to be found out.
        var shownBySavedTasks: Set<ObjectID>?
    }
}

extension Store.Memory {
    /// Whether bytes, objects or tasks differ from the last commit, beside what mapped memory and maps say.
    var hasOperations: Bool { !created.isEmpty || !deleted.isEmpty || !terminated.isEmpty }

    /// What the next commit makes and deletes.
    var operations: [StoreOperation] {
        var operations: [StoreOperation] = []
        for id in created.sorted() {
            guard let object = mapped[id] else { continue }
            operations.append(.createObject(id: id, name: "", size: object.size, residency: .shared))
            if let base = object.base {
                operations.append(
                    .lineage(object: id, source: base.source, sourceVersion: base.version, size: object.size))
            }
        }
        for id in deleted.sorted() { operations.append(.deleteObject(id: id)) }
        return operations
    }

    /// Takes an object that is new to the store.
    mutating func adopt(_ object: MappedObject) {
        mapped[object.id] = object
        created.insert(object.id)
    }

    /// Memory of `size` bytes that is new to the store: zeros, or what `pager` answers.
    mutating func fresh(size: UInt64, pager: StorePager? = nil, base: MappedObject.CopyBase? = nil, _ store: Store)
        throws(VMError) -> MappedObject
    {
        guard store.isWriter else { throw VMError(.noAccess, "the store is open for reading") }
        return try VMError.translating { () throws(StoreError) in
            let pager = pager ?? StorePager(view: nil, size: size, fileDescriptor: store.pages.pageFileDescriptor)
            let arena = if let arena { arena } else { try MemoryArena() }
            self.arena = arena
            let shared = try SharedMemory(
                pageCount: max(1, Page.count(forBytes: Int(size))), provider: pager, tracking: store.tracking,
                demandFill: store.demandFill, arena: arena)
            return MappedObject(
                id: ObjectID(store.pages.newID()), home: .shared(shared), pager: pager, size: size, base: base)
        }
    }

    /// An object of shared residency in memory: as it is there, or brought there; nothing shows it yet.
    mutating func resident(_ id: ObjectID, _ store: Store) throws(VMError) -> MappedObject {
        if let known = mapped[id] { return known }
        return try VMError.translating { () throws(StoreError) in
            let (view, pager) = try store.pager(of: id)
            let isNameless = try store.pages.object(id)?.name.isEmpty == true
            var home: MemoryArena?
            if isNameless {
                home = if let arena { arena } else { try MemoryArena() }
                arena = home
            }
            let shared = try SharedMemory(
                pageCount: max(1, view.pageCount), provider: pager, tracking: store.tracking, demandFill: store.demandFill,
                arena: home)
            return MappedObject(id: id, home: .shared(shared), pager: pager, size: view.size)
        }
    }

    /// Keeps an exclusive object's uncommitted bytes for the next commit: its mapping is about to go.
    mutating func carry(_ object: MappedObject, _ store: Store) throws(StoreError) {
        guard case .exclusive(let mapping) = object.home else { return }
        try object.gather()
        guard !object.pending.isEmpty else { return }
        let pages = if let known = carried[object.id] { known } else { try CarriedPages(object) }
        try pages.add(object.pending, from: mapping)
        carried[object.id] = pages
    }

    /// Lets go of an object that nothing maps any more. Memory without a name ends then: nothing could show it again.
    mutating func release(_ id: ObjectID, _ store: Store) throws(StoreError) {
        guard let object = mapped[id], !object.isMapped, object.handles == 0, !object.hasForeignWriters else { return }
        if object.managed != nil {
            // Abandoning may map it again.
            let isCommitted = tasks.values.contains { $0.committedMap.entries.contains { $0.backing.object == id } }
            if !isCommitted, !object.isNeeded { mapped[id] = nil }
            return
        }
        if created.contains(id) {
            created.remove(id)
            mapped[id] = nil
        } else if try store.pages.object(id)?.name.isEmpty == true {
            if try isShownBySavedTask(id, store) { return }
            deleted.insert(id)
            mapped[id] = nil
        } else if object.pending.isEmpty {
            mapped[id] = nil
        }
    }

    /// Lets go of what the last commit made durable and nothing maps.
    mutating func dropUnmapped() {
        for (id, object) in mapped
        where !object.isMapped && object.handles == 0 && !object.hasForeignWriters && !object.isNeeded {
            mapped[id] = nil
        }
    }

    mutating func isShownBySavedTask(_ id: ObjectID, _ store: Store) throws(StoreError) -> Bool {
        if let shownBySavedTasks { return shownBySavedTasks.contains(id) }
        let shown = try store.objectsOfSavedTasks(except: Set(tasks.keys).union(terminated.keys))
        shownBySavedTasks = shown
        return shown.contains(id)
    }
}
