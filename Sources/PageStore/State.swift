internal import VMTypes

/// A commit that the journal holds and the page store does not yet.
struct YoungRecord {
    var header: JournalHeader
    var layers: [YoungLayer]
    var operations: [StoreOperation]
    /// The record's bytes as they went into the ring, so that settling need not read them back; nil where memory was not spent.
    var bytes: RecordBytes?
    var version: Version { header.version }

    /// Whether `object` takes its pages from another state from here on.
    func rebases(_ object: ObjectID) -> Bool {
        operations.contains { if case .lineage(object, _, _, _) = $0 { true } else { false } }
    }

    /// Whether pages of `object` are others, or may be, than before.
    func changes(_ object: ObjectID) -> Bool { layers.contains { $0.object == object } || rebases(object) }
}

extension ArraySlice<YoungRecord> {
    /// The records of versions `first`…`last`.
    func within(_ first: Version, _ last: Version) -> ArraySlice<YoungRecord> {
        let start = partitioningIndex { $0.version >= first }
        return self[start..<Swift.max(start, partitioningIndex { $0.version > last })]
    }
}

/// A record's bytes in memory.
struct RecordBytes {
    var buffer: AlignedBuffer
    /// Where the record begins in `buffer`.
    var start: Int
    /// The buffer is as large as those that records are made in, and goes back to them.
    var isSpare: Bool
}

/// One object's layer of a young record.
struct YoungLayer {
    var object: ObjectID
    var size: UInt64
    var floorPage: UInt32
    /// The page-store record that holds the pages, or 0: they are in the journal.
    var record: UInt64
    var entries: [PageEntry]
    /// Where each entry's page is; in step with `entries`.
    var places: [Place]
    /// Where each entry's page was before, as the object's head said; in step with `entries`, or empty where it said nothing.
    /// Pages of the file are there as long as the store's epoch is `replacedEpoch`, young ones as long as their nodes live.
    var replaced: [PageTable.Slot] = []
    var replacedEpoch: UInt64 = 0
}

/// Everything of an open store that changes, guarded by one lock (`PageStore.state`).
///
/// Invariants: `tail` ≤ `head` ≤ `tail` + ring; `settled` ≤ `flushed` ≤ `last`; `young` are the records of
/// (`settled`, `last`] in order; the tables of `tables` say for each page the newest place that a published commit gave it.
struct State {
    var head: UInt64
    var tail: UInt64
    /// The prologue checksum of the last record written, and its version.
    var chain: UInt64
    var last: Version
    var nextVersion: Version
    var flushed: Version
    var settled: Version
    var nonce: UInt64
    var nextRecord: UInt64
    var nextID: UInt64
    /// Numbers below this one may be in use: the page store says so, and a crash gives none of them out again.
    var reservedID: UInt64 = 0
    var epoch: UInt64
    var young: [YoungRecord] = []
    /// Memory that held records which have settled, for those that come.
    var spareBuffers: [AlignedBuffer] = []
    /// Records written since the last flush.
    var unflushed = 0
    var heads: [ObjectID: PageTable] = [:]
    var others: [WeakTable] = []
    var metadata: Metadata
    /// The mark in the page store says that the journal may hold more than it covers.
    var markedDirty: Bool
    /// The page store says that no record is longer: recovery looks no further behind one that is damaged.
    var longestRecord: UInt64
    /// Why no more commits are taken, after a failed write or flush.
    var failure: StoreError?
    /// Why the last settling failed; cleared by one that succeeds.
    var settleFailure: StoreError?

    var queue: [CommitRequest] = []
    /// A thread is writing the journal.
    var leading = false
    var wantsSettling = false
    /// What is moving layers now: it decided beforehand which states it keeps.
    var rearranging: Rearrangement?
    /// Pages settled since merging was last considered.
    var unmergedPages = 0
    /// Parts of each object that have settled since its page table was last checkpointed.
    var partsToCheckpoint: [ObjectID: Int] = [:]
    var closing = false
    var settlerEnded = true

    /// Every live table that takes pages of `object`.
    func tables(of object: ObjectID) -> [PageTable] {
        var found: [PageTable] = []
        for table in heads.values where table.sources.contains(object) { found.append(table) }
        for weak in others { if let table = weak.table, table.sources.contains(object) { found.append(table) } }
        return found
    }

    /// Tells the tables that pages have moved; what has been written since keeps its newer place.
    func relocate(_ object: ObjectID, _ moves: [Relocation]) {
        for table in tables(of: object) {
            table.withLock { storage in
                for move in moves where storage[move.page].place == move.from { storage[move.page].place = move.to }
            }
        }
    }
}

/// What moves layers, and with them decides which states stay.
enum Rearrangement {
    /// `folds` are the layers that it makes, by object: the first version of each and its last. nil until that is decided.
    case settling(folds: [ObjectID: [(first: Version, last: Version)]]?)
    case merging
}

extension State {
    /// Whether what moves layers now may take a state away, given by its version and what it is made of: who keeps it may have
    /// come after that was decided. Asked by who has a lease on it.
    func mayLose(_ version: Version, _ segments: [PageStore.Segment]) -> Bool {
        switch rearranging {
        case nil: false
        // Of the last states all that has settled is kept for the head.
        case .merging: version < settled
        case .settling(nil): true
        case .settling(let folds?):
            segments.contains { segment in
                folds[segment.object]?.contains { $0.first <= segment.through && segment.through < $0.last } ?? false
            }
        }
    }
}

/// A page's bytes are at another place now.
struct Relocation {
    var page: Int
    var from: Place
    var to: Place
}

struct WeakTable {
    weak var table: PageTable?
}
