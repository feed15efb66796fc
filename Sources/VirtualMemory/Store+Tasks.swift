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
            try checkTaskName(name)
            let known = memory.terminated.values.contains(name) ? nil : try savedTask(named: name)
            guard let known else { return try newTask(named: name, &memory) }
            let window = try AddressWindow(base: known.base, byteCount: Int(known.size))
            var map = AddressMap(bounds: known.base..<known.base + known.size)
            for entry in known.entries {
                do throws(VMError) { try map.insert(entry.mapEntry) } catch {
                    throw StoreError(
                        .damaged, "the map of task '\(name)' contradicts itself: \(error.message)",
                        advice: "Run `varve verify`", path: path)
                }
            }
            let task = VMTask(name: name, id: known.id, store: self, window: window, map: map, isSaved: true)
            try backAll(of: task, &memory)
            memory.tasks[task.id] = task
            memory.shownBySavedTasks = nil
            return task
        }
    }

    private func checkTaskName(_ name: String) throws(StoreError) {
        guard !name.isEmpty, name.utf8.count <= 200, !name.utf8.contains(0) else {
            throw StoreError(.invalid, "'\(name)' is no task name", advice: "Use 1 to 200 bytes", path: path)
        }
    }

    /// A task without a region, in a window above all others.
    func newTask(named name: String, _ memory: inout Memory) throws(StoreError) -> VMTask {
        let window = try newWindow(memory)
        let task = VMTask(
            name: name, id: try newTaskID(memory), store: self, window: window,
            map: AddressMap(bounds: window.base..<window.base + Self.windowSize), isSaved: false)
        memory.tasks[task.id] = task
        return task
    }

    /// Refuses a name that no new task may have.
    func checkNewTask(named name: String, _ memory: Memory) throws(StoreError) {
        try checkTaskName(name)
        let isTaken = memory.tasks.values.contains { $0.name == name }
        let isSaved = memory.terminated.values.contains(name) ? false : try savedTask(named: name) != nil
        guard !isTaken, !isSaved else {
            throw StoreError(.exists, "a task named '\(name)' is there", advice: "Choose another name", path: path)
        }
    }

    /// Maps every region of a task that is being attached, or none.
    private func backAll(of task: VMTask, _ memory: inout Memory) throws(StoreError) {
        do throws(StoreError) {
            for placement in task.map.placements {
                guard try pages.object(placement.object)?.isLive == true else { continue }
                do throws(VMError) { try task.back(placement, &memory) } catch {
                    throw StoreError(
                        error.code == .resourceShortage ? .full : .io,
                        "task '\(task.name)' could not be attached: \(error.message)", path: path)
                }
            }
        } catch {
            task.unmapAll(&memory)
            task.window.release()
            throw error
        }
    }

    /// The objects that saved tasks other than these show.
    func objectsOfSavedTasks(except attached: Set<TaskID>) throws(StoreError) -> Set<ObjectID> {
        var shown: Set<ObjectID> = []
        for task in try savedTasks({ () throws(StoreError) in try catalog.tasks() }) where !attached.contains(task.id) {
            shown.formUnion(task.entries.compactMap(\.object))
        }
        return shown
    }

    /// The regions of saved tasks, as the last commit left them, that show an object.
    func savedEntries(showing id: ObjectID) throws(StoreError) -> [CatalogEntry] {
        let pending = try pendingMapChanges()
        var entries = try catalog.entries(showing: id)
        for change in pending {
            switch change {
            case .createTask(let task, _, _, _), .deleteTask(let task): entries.removeAll { $0.task == task }
            case .setEntries(let task, let start, let end, let made):
                entries.removeAll { $0.task == task && $0.start < end && $0.end > start }
                entries += made.filter { $0.object == id }
            default: break
            }
        }
        return entries
    }

    /// The task of that number as the last commit left it.
    func savedTask(_ id: TaskID) throws(StoreError) -> SavedTask? {
        try savedTasks { () throws(StoreError) in try catalog.task(id: id).map { [$0] } ?? [] }.first { $0.id == id }
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
    func savedTasks(_ known: () throws(StoreError) -> [CatalogTask]) throws(StoreError) -> [SavedTask] {
        let changes = try pendingMapChanges()
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
        for task in tasks { try checkWellFormed(task) }
        return tasks
    }

    /// What commits changed of maps that the catalog has not yet heard of.
    private func pendingMapChanges() throws(StoreError) -> [CatalogChange] {
        let changes = try mapChanges(try pages.commits(after: try catalog.mark))
        guard changes.contains(where: { if case .rollback = $0 { true } else { false } }) else { return changes }
        // Which maps a rollback brings back only the catalog can say.
        try pages.settle()
        try feeder.catchUp()
        return try mapChanges(try pages.commits(after: try catalog.mark))
    }

    private func mapChanges(_ commits: [CommitInfo]) throws(StoreError) -> [CatalogChange] {
        var changes: [CatalogChange] = []
        for commit in commits {
            for case .mapChanges(let blob) in commit.operations { changes += try CatalogChange.decode(blob) }
        }
        return changes
    }

    /// Reserves the first window above all windows of the store's tasks; where none is left, the first between them. What
    /// this process has at an address is passed over.
    private func newWindow(_ memory: Memory) throws(StoreError) -> AddressWindow {
        var taken: [Range<UInt64>] = []
        for task in try savedTasks({ () throws(StoreError) in try catalog.tasks() }) { taken.append(task.base..<task.base + task.size) }
        for task in memory.tasks.values { taken.append(task.windowBase..<task.windowBase + task.windowSize) }
        var occupied: StoreError?
        let above = taken.reduce(pages.windowBase) { max($0, $1.upperBound) }
        if let window = try firstWindow(in: above..<max(above, 0x7000_0000_0000), &occupied) { return window }
        // Tasks that are no more left gaps.
        var base = pages.windowBase
        for window in taken.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if window.lowerBound > base, let found = try firstWindow(in: base..<window.lowerBound, &occupied) { return found }
            base = max(base, window.upperBound)
        }
        throw occupied
            ?? StoreError(.full, "the store's tasks have used up the addresses for their windows", path: path)
    }

    /// The first free window of a range, or nil; `occupied` tells what was in the way.
    private func firstWindow(in range: Range<UInt64>, _ occupied: inout StoreError?) throws(StoreError) -> AddressWindow? {
        var base = range.lowerBound
        while base + Self.windowSize <= range.upperBound {
            do throws(StoreError) { return try AddressWindow(base: base, byteCount: Int(Self.windowSize)) } catch {
                guard error.code == .addressTaken else { throw error }
                occupied = error
            }
            base += Self.windowSize
        }
        return nil
    }
}
