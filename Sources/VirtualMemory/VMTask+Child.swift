internal import AddressMap
internal import HostMemory
internal import PageStore
public import VMTypes

extension VMTask {
    /// Makes a task that receives this one's memory as each region's inheritance says (task_create).
    ///
    /// A region that is *shared* shows both tasks each other's writes; one that is *copied* is a copy as of the call, of
    /// which neither sees the other's later writes; *none* is absent. A child has a window of its own: what lies n bytes
    /// into the parent's window lies n bytes into the child's. Regions keep their inheritance; nothing is wired.
    ///
    /// - Parameter inherits: False makes a child without memory.
    /// - Throws: NAME_EXISTS, INVALID_ARGUMENT (no task name), RESOURCE_SHORTAGE (memory or addresses
    ///   are used up), MEMORY_ERROR, TERMINATED. No child is made then.
    public func createChild(named name: String, inherits: Bool = true) throws(VMError) -> VMTask {
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            do throws(StoreError) { try store.checkNewTask(named: name, memory) } catch {
                switch error.code {
                case .exists: throw VMError(.nameExists, error.description)
                case .invalid: throw VMError(.invalidArgument, error.description)
                default: throw VMError(.memoryError, error.description)
                }
            }
            let child = try VMError.translating { () throws(StoreError) in try store.newTask(named: name, &memory) }
            guard inherits else { return child }
            do throws(VMError) {
                for entry in map.entries { try child.receive(entry, from: self, &memory) }
            } catch {
                child.discard(&memory)
                throw error
            }
            return child
        }
    }

    private func receive(_ entry: MapEntry, from parent: VMTask, _ memory: inout Store.Memory) throws(VMError) {
        guard entry.inheritance != .none, let id = entry.backing.object else { return }
        guard entry.start - parent.windowBase < windowSize, entry.end - parent.windowBase <= windowSize else {
            throw VMError(.noSpace, "\(hexadecimal(entry.range)) lies beyond the child's window")
        }
        var received = entry
        received.start = entry.start - parent.windowBase + windowBase
        received.end = entry.end - parent.windowBase + windowBase
        received.wiredCount = 0
        // A region whose object is gone stays one without access.
        guard memory.mapped[id] != nil else { return try reserve(received) }
        if entry.inheritance == .share {
            try insert(received, try memory.shareable(id, store), &memory)
        } else {
            let copy = try memory.copy(of: id, entry.pages, store)
            try insert(
                fresh: copy, received.range, offset: entry.backing.offset, entry.current, entry.maximum, entry.inheritance,
                copied: true, &memory)
        }
    }

    func reserve(_ entry: MapEntry) throws(VMError) {
        try map.insert(entry)
        noteChange(entry.range)
    }

    /// Ends the task (task_terminate): every region is dropped, and with the next commit the task is gone from the store.
    ///
    /// Memory without a name that nothing else shows ends too; what was changed in named objects is part of the next
    /// commit all the same. Every later call through this handle is TERMINATED; a second `terminate` too.
    public func terminate() throws(VMError) {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            try remove(map.bounds, &memory)
            if isSaved { memory.terminated[id] = name }
            memory.tasks[id] = nil
            memory.shownBySavedTasks = nil
            window.release()
        }
    }

    /// Whether the task was terminated, or its store closed.
    public var isTerminated: Bool { store.withMemory { memory in memory.isClosed || memory.tasks[id] !== self } }

    /// Undoes the making of a task.
    func discard(_ memory: inout Store.Memory) {
        try? remove(map.bounds, &memory)
        memory.tasks[id] = nil
        window.release()
    }

    /// Unmaps everything, with what was stored.
    func unmapAll(_ memory: inout Store.Memory) {
        for entry in map.entries {
            guard let id = entry.backing.object, let object = memory.mapped[id] else { continue }
            switch object.home {
            case .exclusive:
                if window.contains(address: object.firstAddress, byteCount: 1) {
                    object.unmapAll()
                    memory.mapped[id] = nil
                }
            case .shared: try? object.unmap(entry.range)
            }
        }
        memory.dropUnmapped()
    }
}

extension MappedObject {
    /// Where it is mapped first; 0 where it is not.
    var firstAddress: UInt64 {
        switch home {
        case .exclusive(let mapping): mapping.address
        case .shared: mappings.first?.address ?? 0
        }
    }
}
