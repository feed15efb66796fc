internal import AddressMap
internal import Catalog
internal import HostMemory
internal import PageStore
public import VMTypes

extension Store {
    /// Bytes of a task's window.
    static let windowSize: UInt64 = 64 << 30

    /// Attaches the task of that name, or makes it: its window is reserved and every region mapped again at its address.
    ///
    /// Throws `.addressTaken`, naming what is there, where something else of this process lies in the window. A region
    /// whose object is gone stays reserved without access.
    public func task(named name: String) throws(StoreError) -> VMTask {
        try requireWriter("a task")
        return try withMemory { (memory) throws(StoreError) in
            try checkOpen(memory)
            if let known = memory.tasks.values.first(where: { $0.name == name }) { return known }
            guard !name.isEmpty, name.utf8.count <= 200, !name.utf8.contains(0) else {
                throw StoreError(.invalid, "'\(name)' is no task name", advice: "Use 1 to 200 bytes")
            }
            let known = try savedTask(named: name)
            let base = if let known { known.base } else { try newWindowBase(memory) }
            let size = known?.size ?? Self.windowSize
            let window = try AddressWindow(base: base, byteCount: Int(size))
            var map = AddressMap(bounds: base..<base + size)
            for entry in known?.entries ?? [] {
                do throws(VMError) { try map.insert(entry.mapEntry) } catch {
                    throw StoreError(
                        .damaged, "the map of task '\(name)' contradicts itself: \(error.message)",
                        advice: "Run `varve verify`", path: path)
                }
            }
            let id = if let known { known.id } else { try newTaskID(memory) }
            let task = VMTask(
                name: name, id: id, store: self, window: window, map: map, isSaved: known != nil)
            try backAll(of: task, &memory)
            memory.tasks[task.id] = task
            return task
        }
    }

    /// Maps every region of a task that is being attached, or none.
    private func backAll(of task: VMTask, _ memory: inout Memory) throws(StoreError) {
        var backed: [ObjectID] = []
        do throws(StoreError) {
            for placement in task.map.placements {
                guard try pages.object(placement.object)?.isLive == true else { continue }
                guard memory.mapped[placement.object] == nil else {
                    throw StoreError(
                        .busy,
                        "task '\(task.name)' maps object \(placement.object), which another attached task maps already",
                        advice: "Deallocate that region first: objects have one mapping at a time in this version", path: path)
                }
                do throws(VMError) { try task.back(placement, &memory) } catch {
                    throw StoreError(
                        error.code == .resourceShortage ? .full : .io,
                        "task '\(task.name)' could not be attached: \(error.message)", path: path)
                }
                backed.append(placement.object)
            }
        } catch {
            for id in backed { memory.mapped.removeValue(forKey: id)?.mapping.unmap() }
            task.window.release()
            throw error
        }
    }

    /// A number that no task of the store has, whatever a crash made of the counter.
    private func newTaskID(_ memory: Memory) throws(StoreError) -> TaskID {
        let taken = Set(try savedTasks { () throws(StoreError) in try catalog.tasks() }.map(\.id)).union(memory.tasks.keys)
        while true {
            let id = TaskID(pages.newID())
            if !taken.contains(id) { return id }
        }
    }

    /// A task as the last commit left it.
    struct SavedTask {
        var id: TaskID
        var name: String
        var base: UInt64
        var size: UInt64
        var entries: [CatalogEntry]
    }

    private func savedTask(named name: String) throws(StoreError) -> SavedTask? {
        let found = try savedTasks { () throws(StoreError) in try catalog.task(named: name).map { [$0] } ?? [] }
        return found.first { $0.name == name }
    }

    /// The tasks that `known` finds in the catalog, brought up to the last commit by what it has not yet heard.
    private func savedTasks(_ known: () throws(StoreError) -> [CatalogTask]) throws(StoreError) -> [SavedTask] {
        var pending = try pages.commits(after: try catalog.mark)
        var changes = try mapChanges(pending)
        if changes.contains(where: { if case .rollback = $0 { true } else { false } }) {
            // Which maps a rollback brings back only the catalog can say.
            try pages.settle()
            try feeder.catchUp()
            pending = try pages.commits(after: try catalog.mark)
            changes = try mapChanges(pending)
        }
        var tasks: [SavedTask] = []
        for task in try known() {
            tasks.append(
                SavedTask(
                    id: task.id, name: task.name, base: task.windowBase, size: task.windowSize,
                    entries: try catalog.entries(of: task.id)))
        }
        for change in changes {
            switch change {
            case .createTask(let id, let name, let base, let size):
                tasks.removeAll { $0.id == id }
                tasks.append(SavedTask(id: id, name: name, base: base, size: size, entries: []))
            case .deleteTask(let id): tasks.removeAll { $0.id == id }
            case .setEntries(let id, let start, let end, let entries):
                guard let index = tasks.firstIndex(where: { $0.id == id }) else { continue }
                tasks[index].entries.removeAll { $0.start < end && $0.end > start }
                tasks[index].entries.append(contentsOf: entries)
                tasks[index].entries.sort { $0.start < $1.start }
            default: break
            }
        }
        return tasks
    }

    private func mapChanges(_ commits: [CommitInfo]) throws(StoreError) -> [CatalogChange] {
        var changes: [CatalogChange] = []
        for commit in commits {
            for case .mapChanges(let blob) in commit.operations { changes += try CatalogChange.decode(blob) }
        }
        return changes
    }

    /// The first window above all windows of the store's tasks.
    private func newWindowBase(_ memory: Memory) throws(StoreError) -> UInt64 {
        var base = pages.windowBase
        for task in try savedTasks({ () throws(StoreError) in try catalog.tasks() }) { base = max(base, task.base + task.size) }
        for task in memory.tasks.values { base = max(base, task.windowBase + task.windowSize) }
        guard base < 0x7000_0000_0000 else {
            throw StoreError(.full, "the store's tasks have used up the addresses for their windows", path: path)
        }
        return base
    }
}
