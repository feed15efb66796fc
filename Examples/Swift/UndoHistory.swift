import Varve

/// A text whose edits can all be undone and done again, also by the next process: each step is a snapshot.
struct UndoHistory {
    let heap: PersistentHeap
    let lines: PersistentArray<String>
    /// The step that the text is at.
    let step: Root<Int>

    init(_ path: String) throws {
        heap = try PersistentHeap.open(path)
        lines = try heap.root("lines")
        step = try heap.root("step", default: 0)
        if try steps().isEmpty { try heap.commit(snapshot: name(0)) }
    }

    private func name(_ step: Int) -> String { "step \(step)" }

    /// The steps that there are, those that were undone too.
    func steps() throws -> [Int] {
        try heap.store.snapshots().compactMap { $0.name.hasPrefix("step ") ? Int($0.name.dropFirst(5)) : nil }.sorted()
    }

    /// Makes a step; what was undone before it can't be done again.
    func edit(_ change: (PersistentArray<String>) throws -> Void) throws {
        for undone in try steps() where undone > step.value { try heap.store.deleteSnapshot(name(undone)) }
        do {
            try change(lines)
            step.value += 1
            try heap.commit(message: name(step.value), snapshot: name(step.value))
        } catch {
            try heap.abandon()
            throw error
        }
    }

    /// Goes back a step, or `false` where there is none. The step's own number goes back with the text.
    func undo() throws -> Bool { try go(to: step.value - 1) }

    /// Goes forward a step that was undone.
    func redo() throws -> Bool { try go(to: step.value + 1) }

    private func go(to wanted: Int) throws -> Bool {
        guard try steps().contains(wanted) else { return false }
        try heap.rollback(to: .snapshot(name(wanted)))
        return true
    }

    /// The text as it was at a step, while the text of now stays where it is.
    func text(at wanted: Int) throws -> [String] {
        try heap.reading(at: .snapshot(name(wanted))) { past in
            let lines: PersistentArray<String> = try past.root("lines")
            return Array(lines)
        }
    }
}
