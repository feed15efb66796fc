internal import Catalog
internal import HostMemory
public import PageStore
public import VMTypes

extension Store {
    /// Makes the next version of everything this process has changed: bytes, maps, objects; all of it or nothing.
    ///
    /// - Parameters:
    ///   - message: What the log says of the commit.
    ///   - durability: `.synced` returns when the version is on the disk.
    ///   - declaredOnly: Take the pages that `touch` named, without asking the kernel. Debug builds ask all the same and
    ///     throw `.wrongState` where something else was written (it then belongs to the next commit).
    ///   - snapshot: A name for the new version.
    /// - Returns: The version; the last one, where nothing has changed.
    /// - Throws: `.full`, `.io`: nothing is lost, commit again. `.unknownOutcome`: reopen. `.exists`: the snapshot's name.
    ///
    /// What other threads store meanwhile is in this version or in the next.
    @discardableResult
    public func commit(
        message: String = "", durability: Durability = .synced, declaredOnly: Bool = false, snapshot: String? = nil
    ) throws(StoreError) -> Version {
        var operations: [StoreOperation] = []
        if let snapshot {
            operations.append(.createSnapshot(name: snapshot, version: .infinity, object: nil, message: message))
        }
        return try withMemory { (memory) throws(StoreError) in
            try commit(&memory, operations, message: message, durability: durability, declaredOnly: declaredOnly)
        }
    }

    /// Commits `operations` alone, as one version: what memory holds uncommitted stays so.
    func commitOperations(_ operations: [StoreOperation], message: String) throws(StoreError) -> Version {
        try requireWriter("a change")
        return try pages.commit([], operations: operations + (message.isEmpty ? [] : [.message(message)]))
    }

    func commit(
        _ memory: inout Memory, _ operations: [StoreOperation], message: String, durability: Durability, declaredOnly: Bool
    ) throws(StoreError) -> Version {
        try requireWriter("a commit")
        try checkOpen(memory)
        var inputs: [LayerInput] = []
        var taken: [(object: MappedObject, runs: [PageRange])] = []
        var copies: [CarriedPages] = []
        var undeclared: StoreError?
        for object in memory.mapped.values where object.mapping.writable {
            let runs = try dirtyPages(of: object, &memory.runs, declaredOnly: declaredOnly, &undeclared)
            guard !runs.isEmpty else { continue }
            taken.append((object, runs))
            if object.isRestricted {
                let copy = try CarriedPages(object, runs)
                copies.append(copy)
                inputs.append(LayerInput(object: object.id, size: object.size, runs: runs, origin: copy.origin))
            } else {
                inputs.append(object.layer(runs))
            }
        }
        defer { withExtendedLifetime(copies) {} }
        do throws(StoreError) {
            if let undeclared { throw undeclared }
            for (id, carried) in memory.carried {
                inputs.append(LayerInput(object: id, size: carried.size, runs: carried.runs, origin: carried.origin))
            }
            var all = memory.operations + operations
            var changes = memory.changes
            for task in memory.tasks.values { if let change = task.pendingChange() { changes.append(change) } }
            if !changes.isEmpty { all.append(.mapChanges(CatalogChange.encode(changes))) }
            if !message.isEmpty, !all.isEmpty || !inputs.isEmpty { all.append(.message(message)) }
            let version = try pages.commit(inputs, operations: all, durability: durability)
            committed(&memory)
            return version
        } catch {
            // The kernel has forgotten that these pages were dirty: the next commit, or abandoning, must know them.
            for (object, runs) in taken { object.pending = runs }
            throw error
        }
    }

    func checkOpen(_ memory: Memory) throws(StoreError) {
        if memory.isClosed { throw StoreError(.wrongState, "the store was closed", advice: "Open it again", path: path) }
    }

    /// The pages to commit of one object: found, declared, or left over from a commit that failed.
    private func dirtyPages(
        of object: MappedObject, _ scratch: inout [PageRange], declaredOnly: Bool, _ undeclared: inout StoreError?
    ) throws(StoreError) -> [PageRange] {
        let declared = joined(object.declared)
        object.declared.removeAll(keepingCapacity: true)
        if declaredOnly {
            #if DEBUG
                scratch.removeAll(keepingCapacity: true)
                try object.mapping.takeDirty(into: &scratch)
                if let stray = scratch.first(where: { run in !declared.contains { $0.start <= run.start && run.end <= $0.end } }) {
                    object.pending = joined(object.pending + scratch)
                    let first = stray.start
                    undeclared = StoreError(
                        .wrongState, "\(stray) of object \(object.id) were written and not declared (first page \(first))",
                        advice: "Call `touch` before writing, or commit without `declaredOnly`", path: path)
                }
            #endif
            return object.pending.isEmpty ? declared : takePending(object, declared)
        }
        scratch.removeAll(keepingCapacity: true)
        try object.mapping.takeDirty(into: &scratch)
        // What was declared and written has been found; what was declared and not written has not changed.
        return object.pending.isEmpty ? scratch : takePending(object, scratch)
    }

    private func takePending(_ object: MappedObject, _ runs: [PageRange]) -> [PageRange] {
        defer { object.pending = [] }
        return joined(object.pending + runs)
    }

    /// Everything pending is in a version now.
    private func committed(_ memory: inout Memory) {
        memory.carried = [:]
        memory.changes.removeAll()
        for task in memory.tasks.values { task.commitMap() }
        let made = memory.operations
        memory.operations.removeAll()
        for case .createObject(let id, _, _, _) in made {
            // Its pages have a table now; until it is attached the pager would answer zeros for committed bytes.
            if let object = memory.mapped[id], let view = try? pages.head(of: id) { object.pager.attach(view) }
        }
    }

    /// Undoes what has not been committed: exactly the changed pages get their committed bytes back, in place, and every
    /// map is what the last commit left.
    public func abandon() throws(StoreError) {
        try withMemory { (memory) throws(StoreError) in
            try checkOpen(memory)
            memory.carried = [:]
            memory.operations = []
            memory.changes = []
            for task in memory.tasks.values { try task.revertMap(&memory) }
            for object in memory.mapped.values where object.mapping.writable {
                var runs: [PageRange] = object.pending
                try object.mapping.takeDirty(into: &runs)
                object.pending = joined(runs)
                try object.mapping.restore(object.pending)
                object.pending = []
                object.declared.removeAll(keepingCapacity: true)
            }
        }
    }

    /// True where memory or maps differ from the last commit.
    public func hasUncommittedChanges() throws(StoreError) -> Bool {
        try withMemory { (memory) throws(StoreError) in try hasUncommittedChanges(memory) }
    }

    func hasUncommittedChanges(_ memory: Memory) throws(StoreError) -> Bool {
        if !memory.operations.isEmpty || !memory.changes.isEmpty || !memory.carried.isEmpty { return true }
        for task in memory.tasks.values where task.pendingChange() != nil { return true }
        for object in memory.mapped.values where object.mapping.writable {
            var runs: [PageRange] = object.pending
            try object.mapping.peekDirty(into: &runs)
            if !runs.isEmpty { return true }
        }
        return false
    }
}
