/// What a heap's memory is used for.
public struct HeapStatistics: Hashable, Sendable {
    /// Blocks of one size.
    public struct SizeClass: Hashable, Sendable {
        /// Bytes of a block.
        public var blockBytes: Int
        /// Bytes of the spans that hold blocks of this size.
        public var spanBytes: Int
        public var allocatedBlocks: Int
        /// Blocks that fit into the spans beside the allocated ones.
        public var freeBlocks: Int
    }

    /// Bytes that the heap can grow to, its own tables included.
    public var capacity = 0
    /// Bytes that blocks can use of that.
    public var usableCapacity = 0
    /// Bytes below the end of what is in use.
    public var extent = 0
    /// Sizes of which there are spans, by size.
    public var classes: [SizeClass] = []
    /// Blocks above 32 KiB.
    public var largeBlocks = 0
    public var largeBytes = 0
    /// Runs of free units below the end of what is in use.
    public var freeRuns = 0
    public var freeRunBytes = 0
    public var longestFreeRun = 0

    public var allocatedBlocks: Int { classes.reduce(largeBlocks) { $0 + $1.allocatedBlocks } }
    /// Bytes that the allocated blocks can use.
    public var allocatedBytes: Int { classes.reduce(largeBytes) { $0 + $1.allocatedBlocks * $1.blockBytes } }
    /// The part of the extent that no allocated block can use, 0 … 1: free blocks in spans, their ends, free runs.
    public var fragmentation: Double { extent == 0 ? 0 : 1 - Double(allocatedBytes) / Double(extent) }
}

/// What a check of a heap found.
public struct HeapReport: Sendable {
    /// What contradicts itself, a sentence each; empty in a sound heap. The first thousand.
    public internal(set) var problems: [String] = []
    public internal(set) var statistics = HeapStatistics()

    mutating func note(_ problem: @autoclosure () -> String) {
        if problems.count < 1000 { problems.append(problem()) }
    }
}

extension PersistentHeap {
    /// Looks at every structure of the heap: its header, units, blocks, roots and collections, and what this process keeps beside
    /// them.
    ///
    /// Reads the tables of what is in use and the collections, not other blocks; other threads' changes wait meanwhile.
    public func check() throws(HeapError) -> HeapReport {
        try excludingChanges { () throws(HeapError) in
            var checker = HeapChecker(space)
            checker.checkHeader()
            checker.checkUnits()
            checker.checkRoots(directory)
            checker.checkCollections(space, directory)
            if !isReadOnly { checker.checkCaches() }
            return checker.report
        }
    }

    /// What the heap's memory is used for, and how far it is fragmented. Looks at the tables of all that is in use.
    public func statistics() throws(HeapError) -> HeapStatistics {
        try excludingChanges { () throws(HeapError) in
            var checker = HeapChecker(space)
            checker.checkUnits()
            return checker.report.statistics
        }
    }

    /// Runs `body` while no other thread changes the heap, commits or holds a transaction. Throws `.wrongState` within a change.
    package func excludingChanges<Result>(_ body: () throws(HeapError) -> Result) throws(HeapError) -> Result {
        try space.requireOpen()
        if isReadOnly { return try body() }
        guard !space.gate.isChangingHere else {
            throw HeapError(.wrongState, "a heap can't be looked through within a change", advice: "Do it after the change")
        }
        space.gate.close()
        defer { space.gate.open() }
        // It may have been closed while this thread waited.
        try space.requireOpen()
        return try body()
    }
}
