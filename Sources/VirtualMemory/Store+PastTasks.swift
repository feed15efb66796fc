internal import AddressMap
internal import Catalog
internal import HostMemory
internal import PageStore
public import VMTypes

extension Store {
    /// A region of a task as a commit left it.
    public struct SavedRegion: Hashable, Sendable {
        /// The first address.
        public var start: UInt64
        /// One past the last address.
        public var end: UInt64
        public var current: Protection
        public var maximum: Protection
        public var inheritance: Inheritance
        /// Whether it was made by copying.
        public var isCopied: Bool
        public var object: ObjectID?
        /// The object's name then; empty for memory without a name.
        public var objectName: String
        /// Bytes into the object, at `start`.
        public var offset: UInt64
    }

    /// The tasks of a state, by name.
    public func taskNames(at state: State = .head) throws(StoreError) -> [String] {
        try tasks(at: state).map(\.name).sorted()
    }

    /// A task's regions in a state, by address. Throws `.notFound` where no task had that name.
    public func regions(ofTask name: String, at state: State = .head) throws(StoreError) -> [SavedRegion] {
        let version = try version(of: state)
        let task = try task(named: name, at: fixed(state, version))
        var names: [ObjectID: String] = [:]
        for (id, name) in try objectNames(at: version) { names[id] = name }
        return task.entries.map { entry in
            SavedRegion(
                start: entry.start, end: entry.end, current: entry.current, maximum: entry.maximum,
                inheritance: entry.inheritance, isCopied: entry.copied, object: entry.object,
                objectName: entry.object.flatMap { names[$0] } ?? "", offset: entry.offset)
        }
    }

    /// Maps a task as it was in a state, read-only: every region with the bytes that it had.
    ///
    /// At its own addresses, where they are free in this process; else all of it shifted, `MappedTask.shift` bytes up.
    /// Nothing of it ever changes while the result lives. Throws `.notFound`, `.notRetained`, `.damaged`.
    public func mapTask(named name: String, at state: State) throws(StoreError) -> MappedTask {
        let version = try version(of: state)
        return try MappedTask(store: self, version: version, try task(named: name, at: fixed(state, version)))
    }

    /// Makes a task that begins as a task was in a state: the same regions at the same places of a window of its own,
    /// backed by copies that share what is committed. Objects that two regions showed are one object again.
    ///
    /// Durable with the next commit. Throws `.notFound`, `.notRetained`, `.exists`, `.full`.
    public func cloneTask(named name: String, at state: State, as newName: String) throws(StoreError) -> VMTask {
        try requireWriter("a task")
        try pages.flush()
        let version = try version(of: state)
        let saved = try task(named: name, at: fixed(state, version))
        return try withMemory { (memory) throws(StoreError) in
            try checkOpen(memory)
            try checkNewTask(named: newName, memory)
            let task = try newTask(named: newName, &memory)
            do throws(VMError) {
                try task.receive(saved, at: version, &memory)
            } catch {
                task.discard(&memory)
                throw StoreError(
                    error.code == .resourceShortage ? .full : error.code == .invalidObject ? .notRetained : .io,
                    "task '\(name)' could not be cloned: \(error.message)", path: path)
            }
            return task
        }
    }

    /// The state that the version stands for: the head moves on, and may hold what is not yet flushed.
    private func fixed(_ state: State, _ version: Version) -> State {
        isWriter && state == .head ? .version(version) : state
    }

    private func task(named name: String, at state: State) throws(StoreError) -> SavedTask {
        guard let found = try tasks(at: state, named: name).first(where: { $0.name == name }) else {
            throw StoreError(.notFound, "no task is named '\(name)' in this state", advice: "`varve maps` lists the tasks", path: path)
        }
        return found
    }

    /// The tasks of a state; with `name` at least the one that is called so.
    private func tasks(at state: State, named name: String? = nil) throws(StoreError) -> [SavedTask] {
        func known(_ version: Version) throws(StoreError) -> [CatalogTask] {
            guard let name else { return try catalog.tasks(at: version) }
            return try catalog.task(named: name, at: version).map { [$0] } ?? []
        }
        if state == .head { return try savedTasks { () throws(StoreError) in try known(.infinity) } }
        let version = try version(of: state)
        if isWriter, try catalog.mark < version {
            try pages.settle()
            try feeder.catchUp()
        }
        var found: [SavedTask] = []
        for task in try known(version) {
            found.append(
                SavedTask(
                    id: task.id, name: task.name, base: task.windowBase, size: task.windowSize,
                    entries: try catalog.entries(of: task.id, at: version)))
        }
        for task in found { try checkWellFormed(task) }
        return found
    }

    /// Throws `.damaged` where a saved map is none.
    func checkWellFormed(_ task: SavedTask) throws(StoreError) {
        guard let contradiction = task.contradiction else { return }
        throw StoreError(
            .damaged, "the map of task '\(task.name)' contradicts itself: \(contradiction)",
            advice: "Run `varve verify`; `varve repair` keeps the maps of the other tasks", path: path)
    }
}

extension Store.SavedTask {
    /// Why no task ever had this map, which is calculated with; nil where one may have had it.
    var contradiction: String? {
        func hex(_ address: UInt64) -> String { "0x" + String(address, radix: 16) }
        let (end, overflow) = base.addingReportingOverflow(size)
        guard !overflow, end <= 1 << 47, Page.trunc(base) == base, Page.trunc(end) == end else {
            return "its window has \(size) bytes from \(hex(base)) on"
        }
        let wrong = entries.first { entry in
            entry.start >= entry.end || entry.start < base || entry.end > end || Page.trunc(entry.start) != entry.start
                || Page.trunc(entry.end) != entry.end || Page.trunc(entry.offset) != entry.offset
                || entry.offset.addingReportingOverflow(entry.end - entry.start).overflow
        }
        return wrong.map { "it has an entry from \(hex($0.start)) to \(hex($0.end)), at \(hex($0.offset)) of an object" }
    }
}

extension Store {
    /// Whether the object was there at `version`.
    func holds(_ id: ObjectID, at version: Version) throws(StoreError) -> Bool {
        guard let info = try pages.object(id) else { return false }
        return info.born <= version && version < info.died
    }
}

extension VMTask {
    /// Takes the regions of a saved task, each object as a copy of what it was at `version`.
    fileprivate func receive(_ saved: Store.SavedTask, at version: Version, _ memory: inout Store.Memory) throws(VMError) {
        var copies: [ObjectID: MappedObject] = [:]
        for entry in saved.entries {
            var placed = entry.mapEntry
            placed.start = entry.start - saved.base + windowBase
            placed.end = entry.end - saved.base + windowBase
            guard let id = entry.object else { continue }
            guard try VMError.translating({ () throws(StoreError) in try store.holds(id, at: version) }) else {
                // A region whose object is gone stays one without access.
                try reserve(placed)
                continue
            }
            if let copy = copies[id] {
                placed.backing = .object(copy.id, offset: entry.offset)
                try insert(placed, copy, &memory)
                continue
            }
            let view = try VMError.translating { () throws(StoreError) in try store.pages.view(of: id, at: version) }
            let pager = StorePager(view: view, size: view.size, fileDescriptor: view.fileDescriptor)
            let copy = try memory.fresh(
                size: view.size, pager: pager, base: MappedObject.CopyBase(source: id, version: version), store)
            copies[id] = copy
            try insert(
                fresh: copy, placed.range, offset: entry.offset, entry.current, entry.maximum, entry.inheritance, copied: true,
                &memory)
        }
    }
}
