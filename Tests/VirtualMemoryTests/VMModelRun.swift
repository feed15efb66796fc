import Foundation
import TestSupport
import Varve

/// The model, and a store beside it where `open` was called, through the steps that numbers give.
///
/// Every step is a function of its number and the model's state, so that a list of numbers is a sequence: one that fails is
/// shrunk by leaving numbers out.
final class VMModelRun {
    var model: VMModel
    let options: Store.OpenOptions
    var store: Store?
    var tasks: [String: VMTask] = [:]
    var entries: [Int: MemoryEntry] = [:]
    /// Which of the store's objects each of the model's is, where a region told.
    var identifiers: [Int: ObjectID] = [:]
    /// Objects that were deleted.
    var dead: [ObjectInfo] = []
    /// Handles of tasks that are no more.
    var terminated: [VMTask] = []
    /// Calls made on the store.
    private(set) var calls = 0
    /// What the last steps were, for a report.
    private(set) var log: [String] = []

    init(firstWindow: UInt64, options: Store.OpenOptions) {
        model = VMModel(firstWindow: firstWindow)
        self.options = options
    }

    func open(_ path: String) throws {
        store = try Store.open(path, options: options)
        // Their regions are a few pages.
        store?.setLeastLazyCopy(pages: 1)
    }

    func close() throws {
        try store?.close()
        forget()
    }

    /// What the end of a process does.
    func forget() {
        store = nil
        tasks = [:]
        entries = [:]
        terminated = []
        dead = []
        model.close()
        // Numbers that no commit used are used again.
        identifiers = identifiers.filter { model.committed.objects[$0.key] != nil }
    }

    /// Makes a call on the model and on the store, and compares the codes.
    @discardableResult
    func call<Result>(
        _ what: @autoclosure () -> String, _ expected: (inout VMModel) throws -> Result, _ body: (Store) throws -> Void
    ) throws -> Result? {
        var code = KernReturn.success
        var result: Result?
        do { result = try expected(&model) } catch let refusal as Refusal { code = refusal.code }
        guard let store else { return result }
        calls += 1
        if log.count > 400 { log.removeFirst(200) }
        log.append("\(what()) → \(code)")
        do {
            try body(store)
            if code != .success { throw Mismatch("\(what()) succeeded, not \(code)") }
        } catch let error as VMError {
            if error.code != code { throw Mismatch("\(what()) is \(error.code), not \(code): \(error.message)") }
        }
        return result
    }

    func handle(_ name: String) throws -> VMTask {
        guard let task = tasks[name] else { throw Mismatch("no handle of task \(name)") }
        return task
    }

    /// Attaches a task, or makes it.
    func attach(_ name: String) throws {
        guard !model.attached.contains(name) else { return }
        if model.working.tasks[name] != nil {
            model.attached.insert(name)
        } else {
            model.makeTask(name)
        }
        guard let store else { return }
        let task = try store.task(named: name)
        tasks[name] = task
        if task.windowBase != model.working.tasks[name]!.base {
            throw Mismatch("the window of \(name) begins at \(task.windowBase), not \(model.working.tasks[name]!.base)")
        }
    }

    func terminateHandles() {
        for (name, task) in tasks where !model.attached.contains(name) {
            terminated.append(task)
            tasks[name] = nil
        }
    }
}
