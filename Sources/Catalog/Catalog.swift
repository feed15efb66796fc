internal import GRDB
internal import Synchronization
public import VMTypes

/// A store's map metadata in SQLite: objects, tasks, map entries, snapshots and the log of commits.
///
/// The catalog is derived. The page store's journal decides what is committed; the catalog follows it, by
/// `apply`, in short transactions, and keeps its own `mark`. A lost catalog is made again by `create` and
/// by applying what the page store still knows.
///
///     try Catalog.create(path: path, storeID: id)
///     let catalog = try Catalog.open(path: path, storeID: id)
///     try catalog.apply([CatalogCommit(version: Version(1), time: now, changes: changes)])
///     let heap = try catalog.object(named: "heap", at: .infinity)
///
/// Objects, tasks and entries are temporal: every read says at which version it looks, and
/// `Version.infinity` is now.
///
/// - Thread safety: calls from any thread, one after another on one connection.
/// - Processes: one handle that is not `readOnly`, the store's writer's; any number of others read beside it.
/// - Crash safety: rollback journal with `synchronous = FULL`; a transaction is there whole or not at all.
/// - Errors: `StoreError` with the file's path and SQLite's extended code; a file with wrong content is
///   `.damaged`, never a trap.
public final class Catalog: Sendable {
    /// The file.
    public let path: String
    /// True where nothing can be changed through this handle.
    public let readOnly: Bool
    let queue: DatabaseQueue
    /// True until `close`; held during every use of the connection, which must not be used after its end.
    private let isOpen = Mutex(true)
    /// Whether what a killed writer left of the journal is on the disk.
    private let isJournalSynced = Mutex(false)
    /// The mark, once it was read through a handle that alone moves it.
    private let knownMark = Mutex<Version?>(nil)

    /// The format of the catalogs that this build makes: the number of migrations.
    public static var currentFormat: Int { CatalogSchema.current.format }

    /// Opens the catalog at `path` and, unless `readOnly`, brings an older format up to the current one.
    ///
    /// Throws `.noStore` where no file is there, `.mismatchedFiles` where it belongs to another store,
    /// `.newerFormat` where a later Varve made it, `.readOnly` where it is older and may not be migrated, and
    /// `.damaged` where it is no whole catalog.
    public static func open(path: String, storeID: [UInt8], readOnly: Bool = false) throws(StoreError) -> Catalog {
        try UnpairedCatalog(path: path, readOnly: readOnly).paired(with: storeID)
    }

    init(path: String, readOnly: Bool) throws(StoreError) {
        self.path = path
        self.readOnly = readOnly
        guard CatalogFile.exists(path) else {
            throw StoreError(.noStore, "the catalog is missing", advice: StoreError.rebuildAdvice, path: path)
        }
        queue = try CatalogFile.open(path, readOnly: readOnly, isReading: !readOnly)
    }

    /// The last version applied; zero for a new catalog.
    public var mark: Version {
        get throws(StoreError) {
            if let known = try use("read the mark", { knownMark.withLock { $0 } }) { return known }
            // Remembered before anything else can move it.
            return try read("read the mark") { db in
                let mark = try Self.mark(in: db)
                remember(mark)
                return mark
            }
        }
    }

    /// Notes the mark, where nobody else moves it; nil: the file alone can say.
    func remember(_ mark: Version?) {
        guard !readOnly else { return }
        // The mark only ascends: of two threads that apply, the one that is first in the file may be last here.
        knownMark.withLock { known in known = mark.map { max($0, known ?? .zero) } }
    }

    /// Ends the connection; every later call throws `.wrongState`. Closing again does nothing.
    public func close() {
        guard !ForkedChild.isCurrent else { return }
        isOpen.withLock { isOpen in
            guard isOpen else { return }
            isOpen = false
            try? queue.close()
        }
    }

    static func mark(in db: Database) throws -> Version {
        guard let mark = try db.first("SELECT mark FROM store", [], { try $0.version(0) }) else {
            throw StoreError(.damaged, "the catalog has no mark", advice: StoreError.rebuildAdvice)
        }
        return mark
    }

    /// Reads one state of the file; `doing` completes "could not …".
    ///
    /// What this handle may change nobody else does: its reading is one transaction until it writes or is closed, so that
    /// SQLite neither locks the file nor looks for a journal for each statement. Other processes read meanwhile.
    func read<T: Sendable>(_ doing: String, _ body: (Database) throws -> T) throws(StoreError) -> T {
        try use(doing) {
            guard !readOnly else { return try queue.read(body) }
            return try queue.unsafeRead { db in
                if !db.isInsideTransaction { try db.run("BEGIN DEFERRED TRANSACTION") }
                return try body(db)
            }
        }
    }

    /// Writes in one transaction, which an error undoes; `doing` completes "could not …".
    func write<T: Sendable>(_ doing: String, _ body: (Database) throws -> T) throws(StoreError) -> T {
        try syncJournal()
        return try use(doing) {
            try queue.writeWithoutTransaction { db in
                try Self.endReading(db)
                var result: T?
                try db.inTransaction(.immediate) {
                    result = try body(db)
                    return .commit
                }
                return result!
            }
        }
    }

    /// A writer that was killed may have left the end of its last transaction, or the journal's name, in the page cache alone. Were the
    /// next transaction's records written over that one's before, a power cut could leave the old header with some of the new
    /// records: SQLite would roll a part of the old transaction back.
    func syncJournal() throws(StoreError) {
        try isJournalSynced.withLock { (isSynced) throws(StoreError) in
            guard !isSynced, !readOnly else { return }
            if CatalogFile.exists(path + "-journal") { try CatalogFile.sync(path + "-journal") }
            isSynced = true
        }
    }

    /// Ends the transaction in which it reads, until it reads again: another connection may write meanwhile.
    func rest() throws(StoreError) { try use("end reading") { try queue.unsafeRead(Self.endReading) } }

    private static func endReading(_ db: Database) throws {
        if db.isInsideTransaction { try db.run("COMMIT TRANSACTION") }
    }

    /// Runs `body` while the connection is open; what it throws says what was being done.
    func use<T: Sendable>(_ doing: String, _ body: () throws -> T) throws(StoreError) -> T {
        try ForkedChild.refuse()
        do {
            return try isOpen.withLock { isOpen in
                guard isOpen else {
                    throw StoreError(
                        .wrongState, "could not \(doing): the catalog is closed", advice: "Open it again", path: path)
                }
                return try body()
            }
        } catch { throw .catalog(error, doing: doing, path: path) }
    }
}
