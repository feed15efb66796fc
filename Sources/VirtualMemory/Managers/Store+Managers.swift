internal import HostMemory
internal import PageStore
public import VMTypes

extension Store {
    /// Makes an object whose pages `manager` answers for; it is not part of the store.
    ///
    /// Returns at once: the manager's `initialize` runs meanwhile, and mapping waits for it.
    /// - Parameters:
    ///   - size: Bytes; 1 to `maximumObjectSize`.
    ///   - rights: The accesses that mappings may ever allow.
    /// - Throws: INVALID_ARGUMENT (size, attributes), NO_ACCESS (the store is open for reading), RESOURCE_SHORTAGE, FAILURE
    ///   (the store was closed).
    public func makeObject(
        size: UInt64, manager: any MemoryManager, rights: Protection = .all, attributes: ManagerAttributes = .init()
    ) throws(VMError) -> ManagedObject {
        try attributes.check()
        guard size > 0, size <= Self.maximumObjectSize else {
            throw VMError(.invalidArgument, "\(size) bytes are outside 1...\(Self.maximumObjectSize)")
        }
        guard isWriter else { throw VMError(.noAccess, "the store is open for reading") }
        let pager = try withMemory { (memory) throws(VMError) in
            try VMError.translating { () throws(StoreError) in
                try checkOpen(memory)
                memory.releaseHandles(self)
                let pager = ManagedPager(
                    store: self, id: ObjectID(pages.newID()), size: size, manager: manager, attributes: attributes)
                let shared = try SharedMemory(
                    pageCount: Page.count(forBytes: Int(size)), provider: pager, tracking: tracking, demandFill: demandFill)
                let object = MappedObject(id: pager.id, home: .shared(shared), pager: pager, size: size)
                object.handles = 1
                memory.mapped[pager.id] = object
                memory.volatile.insert(pager.id)
                return pager
            }
        }
        pager.kick()
        return ManagedObject(pager, rights: rights.intersection(.all))
    }

    func lockRequest(_ pager: ManagedPager, _ range: PageRange, _ actions: MemoryObjectControl.LockActions) throws(VMError) {
        try withMemory { (memory) throws(VMError) in
            guard let object = memory.mapped[pager.id], pager.ending == nil else {
                throw VMError(.invalidObject, "object \(pager.id) has ended: \(pager.ending?.reason ?? "nothing shows it")")
            }
            try VMError.translating { () throws(StoreError) in
                try object.gather()
                if actions.contains(.return) {
                    pager.keep(try object.copies(of: object.pending.map { $0.intersection(range) }))
                    object.pending = object.pending.flatMap { $0.subtracting(range) }
                    _ = pager.beginReturn(pages.lastVersion)
                }
                if actions.contains(.flush) {
                    object.pending = object.pending.flatMap { $0.subtracting(range) }
                    try object.giveUp([range])
                }
            }
        }
        if actions.contains(.flush), !demandFill {
            try VMError.translating { () throws(StoreError) in
                try ManagerThreads.run { [self] in try? refill() }
            }
        }
    }

    func destroy(_ pager: ManagedPager, _ reason: String) throws(VMError) {
        pager.end(ManagedPager.Ending(reason: reason, isDestroyed: true))
        try withMemory { (memory) throws(VMError) in
            guard let object = memory.mapped[pager.id], case .shared(let shared) = object.home else { return }
            object.pending = []
            object.declared = []
            try VMError.translating { () throws(StoreError) in try shared.destroy() }
        }
    }

    /// Asks the managers, where nothing fills on demand, for the pages whose bytes were given up.
    func refill() throws(StoreError) {
        let objects = withMemory { $0.mapped.values.filter { $0.managed != nil } }
        for object in objects {
            guard let managed = object.managed, case .shared(let shared) = object.home else { continue }
            for run in managed.takeStale() {
                do throws(StoreError) { try shared.replace(run) } catch {
                    managed.noteStale([run])
                    throw error
                }
            }
        }
    }
}

extension ManagedPager {
    func noteStale(_ pages: [PageRange]) { state.withLock { $0.stale += pages } }

    func takeStale() -> [PageRange] {
        state.withLock { state in
            defer { state.stale = [] }
            return state.stale
        }
    }
}

extension MappedObject {
    /// Copies of a managed object's pages, as they are now, of those that are in memory.
    func copies(of runs: [PageRange]) throws(StoreError) -> [PageBytes] {
        guard case .shared(let shared) = home else { return [] }
        var copies: [PageBytes] = []
        for run in runs {
            let live = run.intersection(livePages)
            if live.isEmpty { continue }
            for present in try shared.presentRuns(in: live) {
                copies.append(
                    PageBytes(present) { $0.copyMemory(from: shared.pointer(toPage: present.start), byteCount: present.count << Page.shift) })
            }
        }
        return copies
    }

    /// Drops what a managed object's pages hold: they are asked for again, when they are needed or by `Store.refill`.
    func giveUp(_ runs: [PageRange]) throws(StoreError) {
        guard let managed, case .shared(let shared) = home else { return }
        let runs = runs.map { $0.intersection(livePages) }.filter { !$0.isEmpty }
        for run in runs { managed.forgetRequests(in: run) }
        if shared.demandFill { try shared.discard(runs) } else { managed.noteStale(runs) }
    }
}
