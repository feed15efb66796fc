/// Slots that lie over chunks of a checkpoint which nobody has asked for yet.
///
/// A list for each chunk, newest first, within one array: whoever lays a layer over a page table reads no chunk for it, and a
/// chunk that is read later looks at its own changes only.
struct UnreadChanges {
    /// The end of a chunk's list.
    static let none = -1

    /// Small, since memory that is new costs more than what is done with it.
    private struct Change {
        var slot: PageTable.Slot
        /// The page within its chunk.
        var offset: Int32
        /// The index of the change of the same chunk that was made before.
        var earlier: Int32
    }

    private var changes: [Change] = []

    /// Makes room for so many more.
    mutating func reserve(_ count: Int) { changes.reserveCapacity(changes.count + count) }

    /// Notes a page's slot and answers the new head of its chunk's list, whose head was `earlier`.
    mutating func add(_ page: Int, _ slot: PageTable.Slot, before earlier: Int) -> Int {
        changes.append(
            Change(slot: slot, offset: Int32(page & (CheckpointChunk.pages - 1)), earlier: Int32(earlier)))
        return changes.count - 1
    }

    /// Puts a chunk's changes into its slots, which are those of the checkpoint.
    func apply(from head: Int, to slots: UnsafeMutablePointer<PageTable.Slot>) {
        forEachPage(from: head) { offset, slot in slots[offset] = slot }
    }

    /// Calls `body` with each page of a chunk that has changed, within the chunk, and its newest slot.
    func forEachPage(from head: Int, _ body: (Int, PageTable.Slot) -> Void) {
        guard head != Self.none else { return }
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: CheckpointChunk.pages / 64) { seen in
            seen.initialize(repeating: 0)
            var index = head
            while index != Self.none {
                let change = changes[index]
                index = Int(change.earlier)
                let offset = Int(change.offset)
                guard seen[offset >> 6] & 1 << UInt64(offset & 63) == 0 else { continue }
                seen[offset >> 6] |= 1 << UInt64(offset & 63)
                body(offset, change.slot)
            }
        }
    }

    /// What is left of a chunk's runs without the pages that have changed.
    func cut(_ runs: ArraySlice<CheckpointRun>, from head: Int) -> [CheckpointRun] {
        withUnsafeTemporaryAllocation(of: Bool.self, capacity: CheckpointChunk.pages) { isChanged in
            isChanged.initialize(repeating: false)
            forEachPage(from: head) { offset, _ in isChanged[offset] = true }
            var left: [CheckpointRun] = []
            for run in runs {
                var first = run.first
                let end = run.first + run.count
                while first < end {
                    var last = first
                    while last < end, !isChanged[last] { last += 1 }
                    if last > first {
                        let filePage = run.filePage == 0 ? 0 : run.filePage + first - run.first
                        left.append(CheckpointRun(first: first, count: last - first, filePage: filePage))
                    }
                    first = last + 1
                }
            }
            return left
        }
    }

    /// Forgets all of them: nothing is unread any more.
    mutating func removeAll() { changes = [] }
}
