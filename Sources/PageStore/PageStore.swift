internal import Glibc
internal import Synchronization
public import VMTypes

/// The pages of a store: the journal that decides, the LMDB records that keep, and all that lies between.
///
/// Knows objects, versions, layers, lineage and snapshots; no task and no mapping. Thread-safe. Where locks nest, they
/// nest in this order: `merging`, `settling`, `state`, a page table's.
public final class PageStore: @unchecked Sendable {
    /// The store's folder.
    public let folder: String
    public let uuid: StoreUUID
    /// False: another process writes; this one reads what has been settled.
    public let isWriter: Bool
    /// Bytes of the journal's ring.
    public var ringBytes: Int { journal.ringBytes }
    /// Where the store's task windows begin.
    public let windowBase: UInt64
    /// What recovery found when the store was opened.
    public internal(set) var recovery = RecoveryReport()

    let journal: Journal
    let lmdb: LMDB
    /// pages.lmdb, for reading and mapping pages.
    let pages: File
    let leases: LeaseFile
    let state: Monitor<State>
    let youngPages = YoungPages()
    /// One merge at a time; taken before `settling`, which it lets go of between its transactions.
    let merging = Mutex(())
    /// One transaction that settles, merges or stages at a time.
    let settling = Mutex(())
    /// What a reader's opening found stays as long as it is open.
    let readerLease: Mutex<LeaseFile.Lease?> = Mutex(nil)
    /// False where a damaged store is read: its headers are believed alone.
    let usesCheckpoints: Bool
    /// Changed by tests, before anything else is done with the store.
    package var checkpointPolicy = CheckpointPolicy()
    package var mergePolicy = MergePolicy()
    /// What merging found when it last looked; used under `merging`.
    var surveyed = LayerSurvey()
    let spareRequests = Mutex<[CommitRequest]>([])
    /// Called on the settling thread once layers and map changes are in the page store.
    let onSettled: Mutex<(@Sendable () -> Void)?> = Mutex(nil)
    let aroundWork: Mutex<BackgroundWork?> = Mutex(nil)

    init(
        folder: String, isWriter: Bool, journal: Journal, lmdb: LMDB, pages: File, leases: LeaseFile, meta: StoreMeta,
        state: State, usesCheckpoints: Bool = true
    ) {
        self.usesCheckpoints = usesCheckpoints
        self.folder = folder
        self.isWriter = isWriter
        self.journal = journal
        self.lmdb = lmdb
        self.pages = pages
        self.leases = leases
        uuid = meta.store
        windowBase = meta.windowBase
        self.state = Monitor(state)
    }

    /// The file that pages are mapped from.
    public var pageFileDescriptor: Int32 { pages.descriptor }

    /// Calls `body` after each settling; the catalog is kept up from there.
    public func afterSettling(_ body: (@Sendable () -> Void)?) { onSettled.withLock { $0 = body } }
    /// From now on the settling thread says when it works, and when it is done.
    public func aroundSettling(_ work: BackgroundWork?) { aroundWork.withLock { $0 = work } }

    /// The last version that is on the disk: what other threads and processes may know of.
    public var flushedVersion: Version { state.withLock { $0.flushed } }
    /// The last version, deferred ones included.
    public var lastVersion: Version { state.withLock { $0.last } }
    /// The last version whose layers are in the page store's tables.
    public var settledVersion: Version { state.withLock { $0.settled } }

    func requireWriter() throws(StoreError) {
        try ForkedChild.refuse()
        guard isWriter else {
            throw StoreError(
                .readOnly, "this process opened the store for reading", advice: "The writer must do this", path: folder)
        }
    }

    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// What opening a store had to do.
public struct RecoveryReport: Hashable, Sendable {
    /// The last writer closed the store.
    public var wasClean = true
    /// Records found in the journal.
    public var records = 0
    /// Of these, the ones written again because nothing proved them flushed.
    public var rewritten = 0
    /// Unnamed records deleted from the page store.
    public var orphans = 0
}

/// The names of a store's files.
public enum StoreFile {
    public static let journal = "journal"
    public static let pages = "pages.lmdb"
    public static let catalog = "catalog.sqlite"
    public static let leases = "leases"
    public static let control = "control"
}
