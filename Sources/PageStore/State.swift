internal import VMTypes

/// A commit that the journal holds and the page store does not yet.
struct YoungRecord {
    var header: JournalHeader
    var layers: [YoungLayer]
    var operations: [StoreOperation]
    /// The record's bytes as they went into the ring, so that settling need not read them back; nil where memory was not spent.
    var bytes: RecordBytes?
    var version: Version { header.version }
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
    case settling, merging
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
