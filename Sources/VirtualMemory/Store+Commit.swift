internal import Catalog
internal import Glibc
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
    /// - Throws: `.full`, `.io`: nothing is lost, commit again. `.unknownOutcome`: reopen, and see. `.poisoned`: not tried,
    ///   after one that was unknown; reopen. `.exists`: the snapshot's name. `.notReturned`: the version stands, but a memory
    ///   manager did not take pages of its object; the next commit returns them again. `.wrongState`: within a transaction or
    ///   a change of a heap, which would be torn.
    ///
    /// What other threads store meanwhile is in this version or in the next; where a `ResidencyPolicy` sets a limit, no thread
    /// may store to exclusive memory meanwhile.
    @discardableResult
    public func commit(
        message: String = "", durability: Durability = .synced, declaredOnly: Bool = false, snapshot: String? = nil
    ) throws(StoreError) -> Version {
        try commit(message: message, durability: durability, declaredOnly: declaredOnly, snapshot: snapshot, mayTrade: true)
    }

    /// `commit`; of private memory nothing is given back where `mayTrade` is false: whoever stores to it did not ask for the
    /// commit, and is not quiet.
    package func commit(
        message: String = "", durability: Durability = .synced, declaredOnly: Bool = false, snapshot: String? = nil, mayTrade: Bool
    ) throws(StoreError) -> Version {
        var operations: [StoreOperation] = []
        if let snapshot {
            operations.append(.createSnapshot(name: snapshot, version: .infinity, object: nil, message: message))
        }
        let (version, returns) = try capturing { () throws(StoreError) in
            try withMemory { (memory) throws(StoreError) in
                let version = try commit(
                    &memory, operations, message: message, durability: durability, declaredOnly: declaredOnly, mayTrade: mayTrade)
                return (version, memory.takeReturns())
            }
        }
        if !returns.isEmpty { try awaitReturns(returns, of: version) }
        return version
    }

    /// Puts every deferred commit on the disk; until then neither `State.head` nor another process shows it.
    public func flush() throws(StoreError) {
        try requireWriter("a flush")
        try pages.flush()
    }

    /// Commits `operations` alone, as one version: what memory holds uncommitted stays so.
    func commitOperations(_ operations: [StoreOperation], message: String) throws(StoreError) -> Version {
        try requireWriter("a change")
        return try pages.commit([], operations: operations + (message.isEmpty ? [] : [.message(message)]))
    }

    func commit(
        _ memory: inout Memory, _ operations: [StoreOperation], message: String, durability: Durability, declaredOnly: Bool,
        mayTrade: Bool
    ) throws(StoreError) -> Version {
        try beginCommit(&memory, declaredOnly: declaredOnly)
        return try makeVersion(
            &memory, operations, message: message, durability: durability, declaredOnly: declaredOnly, mayTrade: mayTrade)
    }

    /// Finds what was changed.
    func beginCommit(_ memory: inout Memory, declaredOnly: Bool) throws(StoreError) {
        try requireWriter("a commit")
        try checkOpen(memory)
        memory.releaseHandles(self)
        memory.lent.removeAll { !$0.isLent }
        // Whatever fails from here on, the changed pages stay in their objects' `pending`.
        var undeclared: StoreError?
        for object in memory.mapped.values where object.isWritable {
            if object.hasForeignWriters { try attachView(object) }
            if declaredOnly { try gatherDeclared(object, &undeclared) } else { try object.gather() }
            object.declared.removeAll(keepingCapacity: true)
        }
        if let undeclared { throw undeclared }
        for (id, object) in memory.mapped
        where object.managed == nil && !object.isMapped && object.handles == 0 && !object.hasForeignWriters {
            // Memory without a name that the last forked child has let go of.
            try memory.release(id, self)
        }
    }

    /// Makes a version of what was found.
    ///
    /// - Parameter substitutes: What the version holds of objects in the place of what they have pending.
    func makeVersion(
        _ memory: inout Memory, _ operations: [StoreOperation], message: String, durability: Durability, declaredOnly: Bool,
        mayTrade: Bool, substitutes: [ObjectID: CarriedPages] = [:]
    ) throws(StoreError) -> Version {
        var taken: [MappedObject] = []
        var inputs: [LayerInput] = []
        var copies: [CarriedPages] = []
        var returned: [(object: MappedObject, pages: [PageBytes])] = []
        for object in memory.mapped.values where object.isNeeded || substitutes[object.id] != nil {
            if object.managed != nil {
                returned.append((object, try object.copies(of: object.pending)))
                continue
            }
            taken.append(object)
            if let substitute = substitutes[object.id] {
                inputs.append(substitute.layer)
                continue
            }
            try object.unpack()
            if let carried = memory.carried[object.id] {
                // Pages of it that lie outside its new mapping wait too: an object has one layer in a commit.
                if case .exclusive(let mapping) = object.home { try carried.add(object.pending, from: mapping) }
            } else if object.isRestricted, case .exclusive(let mapping) = object.home {
                let copy = try CarriedPages(object)
                try copy.add(object.pending, from: mapping)
                copies.append(copy)
                inputs.append(copy.layer)
            } else {
                inputs.append(object.layer)
            }
        }
        for carried in memory.carried.values { inputs.append(carried.layer) }
        var all = memory.operations + operations
        let changes = memory.terminated.keys.sorted().map { CatalogChange.deleteTask(id: $0) }
            + memory.tasks.values.flatMap { $0.pendingChanges(without: memory.volatile) }
        if !changes.isEmpty { all.append(.mapChanges(CatalogChange.encode(changes))) }
        if !message.isEmpty, !all.isEmpty || !inputs.isEmpty { all.append(.message(message)) }
        if Mutant.isPlanted(.pendingForgotten) { for object in taken { object.pending = [] } }
        let version = try withExtendedLifetime(copies) { () throws(StoreError) in
            try pages.commit(inputs, operations: all, durability: durability)
        }
        inputs = []
        for object in taken { object.pending.removeAll(keepingCapacity: true) }
        if !returned.isEmpty { beginReturns(returned, version, &memory) }
        committed(&memory)
        if mayTrade { keepLimit(memory, isDeclared: declaredOnly) }
        return version
    }

    func checkOpen(_ memory: Memory) throws(StoreError) {
        try ForkedChild.refuse()
        if memory.isClosed { throw StoreError(.wrongState, "the store was closed", advice: "Open it again", path: path) }
    }

    /// Makes the declared pages pending, and in debug builds looks for others.
    private func gatherDeclared(_ object: MappedObject, _ undeclared: inout StoreError?) throws(StoreError) {
        // What other processes store, they don't declare here.
        try object.gatherForeign()
        object.pending = joined(object.pending)
        let declared = joined(object.declared)
        object.exclusiveMapping?.noteStored(declared)
        #if DEBUG
            let known = joined(object.pending + declared)
            try object.gather()
            let strays = object.pending.subtracting(known)
            // Pages that were only looked at may be among what the kernel names.
            if let stray = strays.first, object.managed == nil, try differs(object, strays) {
                undeclared = StoreError(
                    .wrongState, "\(stray) of object \(object.id) were written and not all declared",
                    advice: "Call `touch` before writing, or commit without `declaredOnly`", path: path)
            }
        #endif
        object.pending = object.pending.isEmpty ? declared : joined(object.pending + declared)
    }

    /// Everything pending is in a version now.
    private func committed(_ memory: inout Memory) {
        memory.carried = [:]
        for task in memory.tasks.values { task.commitMap() }
        for id in memory.created {
            memory.mapped[id]?.needsView = true
            memory.mapped[id]?.replaced = []
        }
        memory.created = []
        memory.deleted = []
        memory.terminated = [:]
        memory.dropUnmapped()
    }

    /// Lets the pager of an object that a commit made answer from that commit on.
    ///
    /// Asked for when committed bytes are needed, not by the commit: until a page goes out of memory, what the object was
    /// made of answers the same.
    func attachView(_ object: MappedObject) throws(StoreError) {
        guard object.needsView else { return }
        object.storePager?.attach(try pages.head(of: object.id))
        object.needsView = false
    }

    /// Undoes what has not been committed: exactly the changed pages get their committed bytes back, in place, and every
    /// map is what the last commit left.
    ///
    /// Where it throws, what is not yet undone is still uncommitted: abandon again. Pages of managed objects are asked for
    /// again. Throws `.wrongState` within a transaction or a change of a heap.
    public func abandon() throws(StoreError) {
        try restoring { () throws(StoreError) in try undo() }
        try refill()
    }

    private func undo() throws(StoreError) {
        try withMemory { (memory) throws(StoreError) in
            try checkOpen(memory)
            // First every mapping goes that is not as it was: an object may be on its way from one task to another.
            for task in memory.tasks.values { try task.unmapChanged(&memory) }
            memory.carried = [:]
            for id in memory.created {
                if let object = memory.mapped[id], object.hasForeignWriters { memory.lent.append(object) }
                memory.mapped[id] = nil
            }
            memory.created = []
            memory.deleted = []
            // A terminated task is there again, under a name that only one can have.
            for task in memory.tasks.values where !task.isSaved && memory.terminated.values.contains(task.name) {
                memory.tasks[task.id] = nil
                task.window.release()
            }
            memory.terminated = [:]
            memory.shownBySavedTasks = nil
            for task in memory.tasks.values { try task.revertMap(&memory) }
            for object in memory.mapped.values where object.isWritable {
                try object.gather()
                // Only what was changed needs its committed bytes, and a lease on them.
                if !object.pending.isEmpty { try attachView(object) }
                if object.managed == nil { try object.restore(object.pending) } else { try object.giveUp(object.pending) }
                object.pending.removeAll(keepingCapacity: true)
                object.declared.removeAll(keepingCapacity: true)
            }
            memory.dropUnmapped()
        }
    }

    /// True where memory or maps differ from the last commit; managed objects don't count, no version holds them.
    public func hasUncommittedChanges() throws(StoreError) -> Bool {
        try ForkedChild.refuse()
        return try withMemory { (memory) throws(StoreError) in try hasUncommittedChanges(memory) }
    }

    func hasUncommittedChanges(_ memory: Memory) throws(StoreError) -> Bool {
        if memory.hasOperations || !memory.carried.isEmpty { return true }
        for task in memory.tasks.values where task.hasChangedMap(without: memory.volatile) { return true }
        for object in memory.mapped.values where object.isWritable && object.managed == nil {
            if !object.pending.isEmpty { return true }
            if try differs(object, try object.peek()) { return true }
        }
        return false
    }

    /// Whether pages that were stored to, or that a declared commit left marked, hold other bytes than the last commit.
    func differs(_ object: MappedObject, _ runs: [PageRange]) throws(StoreError) -> Bool {
        guard !runs.isEmpty else { return false }
        try attachView(object)
        let buffers = UnsafeMutableRawPointer.allocate(byteCount: 2 * Page.size, alignment: Page.size)
        defer { buffers.deallocate() }
        for run in runs {
            for page in run.start..<run.end {
                let one = PageRange(start: page, count: 1)
                try object.copyOut(one, into: buffers)
                try object.pager.fill(one, into: buffers + Page.size)
                if memcmp(buffers, buffers + Page.size, Page.size) != 0 { return true }
            }
        }
        return false
    }
}
