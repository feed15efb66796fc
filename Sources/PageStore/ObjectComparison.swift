public import VMTypes

/// One object at two versions: in which pages they differ, and the bytes of these.
///
/// Both states are pinned while it lives. Thread-safe.
public final class ObjectComparison: @unchecked Sendable {
    public let object: ObjectID
    public let before: Version
    public let after: Version
    /// Bytes.
    public let sizeBefore: UInt64
    public let sizeAfter: UInt64
    /// The pages in which the two differ, ascending.
    public let runs: [PageRange]
    /// Parts of layers that make the page table of the earlier state, where nothing is in memory.
    let partsOfBefore: Int
    private let old: ObjectView
    private let new: ObjectView
    /// Whether the views know of few pages alone: those that differ, and those that are the same at another place.
    let isOfFewPages: Bool

    /// - Parameter pages: Those that differ, where the views know of few pages alone; nil where they know all.
    init(_ old: ObjectView, _ new: ObjectView, pages: [UInt32]?, partsOfBefore: Int) {
        object = old.object
        before = old.version
        after = new.version
        sizeBefore = old.size
        sizeAfter = new.size
        self.old = old
        self.new = new
        isOfFewPages = pages != nil
        self.partsOfBefore = partsOfBefore
        guard let pages else {
            runs = old.differences(from: new)
            return
        }
        var runs: [PageRange] = []
        for page in pages {
            if let last = runs.last, last.end == Int(page) {
                runs[runs.count - 1].count += 1
            } else {
                runs.append(PageRange(start: Int(page), count: 1))
            }
        }
        self.runs = runs
    }

    /// Copies a page of `runs` as it was and as it is then, each checked against its checksum. Pages past the end read as zeros.
    public func read(_ page: Int, before: UnsafeMutableRawPointer, after: UnsafeMutableRawPointer) throws(StoreError) {
        let run = runs.partitioningIndex { $0.end > page }
        precondition(run < runs.count && runs[run].start <= page, "page \(page) is none that differs")
        let range = PageRange(start: page, count: 1)
        try old.read(range, into: before)
        try new.read(range, into: after)
    }

    /// Makes a table that is that of `after` the one of `before`; false where not all that takes is known, or where the table
    /// would not be told of all moves.
    func restore(_ table: PageTable) -> Bool {
        guard isOfFewPages, old.table.sources.isSubset(of: table.sources) else { return false }
        let few = old.table.withLock { $0.few }
        table.withLock { storage in
            // What is unread would be built anew from layers that are no longer the object's.
            storage.readAll()
            storage.size = sizeBefore
            few.forEach { storage[$0] = $1 }
        }
        return true
    }
}
