internal import CLMDB
internal import Glibc
internal import Synchronization
internal import VMTypes

/// The tables of the page store; docs/FORMAT.md draws their keys and values.
enum Table: Int, CaseIterable {
    case meta, records, versions, chains, objects, names, lineage, snapshots, graveyard, outbox, checkpoints

    var name: String {
        switch self {
        case .meta: "meta"
        case .records: "records"
        case .versions: "versions"
        case .chains: "chains"
        case .objects: "objects"
        case .names: "names"
        case .lineage: "lineage"
        case .snapshots: "snapshots"
        case .graveyard: "graveyard"
        case .outbox: "outbox"
        case .checkpoints: "checkpoints"
        }
    }
}

/// The LMDB environment of one store: the only code that calls LMDB.
///
/// Write transactions are synchronous closures (committed on another thread they would leave the writer's lock held for
/// ever) and are serialized by the page store's settle lock. After a commit error the environment is closed, opened again
/// and synced before anything else is written: only then is it known whether the transaction counts. Where that fails,
/// the environment is poisoned until the store is reopened.
///
/// Invariant: `environment`, `tables` and `map` change only under `gate` held for writing; transactions hold it for
/// reading. A process opens a file once: LMDB's locks do not survive a second opening.
final class LMDB: @unchecked Sendable {
    let path: String
    private let gate = Gate()
    private var environment: OpaquePointer?
    private var tables: [MDB_dbi] = []
    /// Where the file is mapped; empty until a row has told.
    private var map = 0..<0
    private let mapBytes: Int
    private let readOnly: Bool
    /// Why nothing more is written, or read.
    private var poison: StoreError?
    private let identity: FileIdentity
    private static let opened = Mutex<[FileIdentity]>([])

    init(path: String, readOnly: Bool, mapBytes: Int = 1 << 40) throws(StoreError) {
        self.path = path
        self.readOnly = readOnly
        self.mapBytes = mapBytes
        identity = try Self.enter(path)
        do throws(StoreError) { try open() } catch {
            leave()
            throw error
        }
    }

    deinit {
        if let environment { mdb_env_close(environment) }
        leave()
    }

    /// Registers the file with this process, and makes its lock file's pages sure to be there.
    private static func enter(_ path: String) throws(StoreError) -> FileIdentity {
        try opened.withLock { (opened) throws(StoreError) in
            if let known = FileIdentity(path: path + "-lock"), opened.contains(known) {
                throw StoreError(
                    .busy, "this process has the page store open already", advice: "Close it first, or use what is open",
                    path: path)
            }
            try reserveLockFile(path + "-lock")
            guard let identity = FileIdentity(path: path + "-lock") else { throw File.error("stat", path, errno) }
            opened.append(identity)
            return identity
        }
    }

    private var isEntered = true
    private func leave() {
        guard isEntered else { return }
        isEntered = false
        Self.opened.withLock { $0.removeAll { $0 == identity } }
    }

    private func open() throws(StoreError) {
        var created: OpaquePointer?
        try Self.check(mdb_env_create(&created), "create an LMDB environment", path)
        let environment = created!
        mdb_env_set_maxdbs(environment, UInt32(Table.allCases.count))
        mdb_env_set_maxreaders(environment, 1024)
        var size = mapBytes
        var code = MDB_SUCCESS
        // A limit on address space (ulimit -v) refuses a generous map: a smaller one serves too.
        repeat {
            mdb_env_set_mapsize(environment, size)
            var flags = UInt32(MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD) | (readOnly ? UInt32(MDB_RDONLY) : 0)
            if Mutant.isPlanted(.pagesNotSynced) { flags |= UInt32(MDB_NOSYNC) }
            if Mutant.isPlanted(.metaPageNotSynced) { flags |= UInt32(MDB_NOMETASYNC) }
            code = Failpoint.injectedError() ?? mdb_env_open(environment, path, flags, 0o600)
            size /= 4
        } while code == ENOMEM && size > 1 << 30
        do throws(StoreError) {
            try Self.check(code, "open the page store", path)
            var dead: Int32 = 0
            mdb_reader_check(environment, &dead)
            tables = try openTables(environment)
            map = try findMap(environment)
        } catch {
            mdb_env_close(environment)
            throw error
        }
        self.environment = environment
    }

    /// Closes the environment; whoever uses it afterwards is told that the store is closed.
    func close() {
        gate.write {
            if let environment { mdb_env_close(environment) }
            environment = nil
            poison = StoreError(.wrongState, "the store is closed", advice: "Open it again", path: path)
            leave()
        }
    }

    /// `-lock` is mapped by LMDB: on a full disk an unreserved page of it would raise SIGBUS.
    private static func reserveLockFile(_ path: String) throws(StoreError) {
        let file = try File(path, O_RDWR | O_CREAT)
        if try file.size() < 1 << 17 { try file.allocate(offset: 0, count: 1 << 17) }
    }

    private func openTables(_ environment: OpaquePointer) throws(StoreError) -> [MDB_dbi] {
        var tables: [MDB_dbi] = []
        var transaction: OpaquePointer?
        try Self.check(
            mdb_txn_begin(environment, nil, readOnly ? UInt32(MDB_RDONLY) : 0, &transaction), "begin a transaction", path)
        do throws(StoreError) { try checkNames(transaction) } catch {
            mdb_txn_abort(transaction)
            throw error
        }
        for table in Table.allCases {
            var handle = MDB_dbi()
            let code = mdb_dbi_open(transaction, table.name, readOnly ? 0 : UInt32(MDB_CREATE), &handle)
            if code != MDB_SUCCESS {
                mdb_txn_abort(transaction)
                try Self.check(code, "open table \(table.name)", path)
            }
            tables.append(handle)
        }
        try Self.check(mdb_txn_commit(transaction), "open the tables", path)
        return tables
    }

    /// A table that is there under another name would be made anew, empty, and what it held be gone without a word.
    private func checkNames(_ transaction: OpaquePointer?) throws(StoreError) {
        var main = MDB_dbi()
        var cursor: OpaquePointer?
        try Self.check(mdb_dbi_open(transaction, nil, 0, &main), "open the main tree", path)
        try Self.check(mdb_cursor_open(transaction, main, &cursor), "open a cursor", path)
        defer { mdb_cursor_close(cursor) }
        var key = MDB_val()
        var value = MDB_val()
        var found: [String] = []
        while mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == MDB_SUCCESS {
            found.append(String(decoding: UnsafeRawBufferPointer(start: key.mv_data, count: key.mv_size), as: UTF8.self))
        }
        let names = Table.allCases.map(\.name)
        guard let missing = names.first(where: { !found.contains($0) }), let unknown = found.first(where: { !names.contains($0) }) else { return }
        throw StoreError(
            .damaged, "the page store lacks the table '\(missing)', and has one named '\(unknown)'",
            advice: "Restore a backup, or run `varve repair`", path: path)
    }

    /// LMDB does not tell where it has mapped the file: the page that holds the meta row does, by its number.
    private func findMap(_ environment: OpaquePointer) throws(StoreError) -> Range<Int> {
        var info = MDB_envinfo()
        try Self.check(mdb_env_info(environment, &info), "query the page store", path)
        var transaction: OpaquePointer?
        try Self.check(mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &transaction), "begin a read transaction", path)
        defer { mdb_txn_abort(transaction) }
        var value = MDB_val()
        let code = StoreMeta.key.withValue { mdb_get(transaction, tables[Table.meta.rawValue], &$0, &value) }
        guard code == MDB_SUCCESS, let bytes = value.mv_data else { return 0..<0 }
        let page = Int(bitPattern: bytes) & ~(Page.size - 1)
        let number = UnsafeRawPointer(bitPattern: page)!.load(as: UInt64.self)
        guard number < UInt64(page >> Page.shift) else { return 0..<0 }
        let base = page - Int(number) << Page.shift
        return base..<base + info.me_mapsize
    }

    /// Copies a page of the file from the map; false where the map has no such page, or, asked for, where it is not in memory.
    ///
    /// The page must have been committed: the file ends behind it.
    func copyPage(_ page: Int, to target: UnsafeMutableRawPointer, ifInMemory: Bool) -> Bool {
        gate.read {
            guard environment != nil, page < map.count >> Page.shift else { return false }
            let source = UnsafeMutableRawPointer(bitPattern: map.lowerBound + page << Page.shift)!
            if ifInMemory {
                var state: UInt8 = 0
                guard mincore(source, Page.size, &state) == 0, state & 1 != 0 else { return false }
            }
            memcpy(target, source, Page.size)
            return true
        }
    }

    private func opened() throws(StoreError) -> OpaquePointer {
        if let environment { return environment }
        throw poison ?? StoreError(.wrongState, "the store is closed", advice: "Open it again", path: path)
    }

    /// Runs `body` in a read transaction. What it gets from the tables dies with the transaction.
    @discardableResult
    func read<Result>(_ body: (Transaction) throws(StoreError) -> Result) throws(StoreError) -> Result {
        try ForkedChild.refuse()
        return try gate.read { () throws(StoreError) in
            var handle: OpaquePointer?
            let begun = mdb_txn_begin(try opened(), nil, UInt32(MDB_RDONLY), &handle)
            try Self.check(begun, "begin a read transaction", path)
            defer { mdb_txn_abort(handle) }
            return try body(Transaction(handle!, self))
        }
    }

    /// Runs `body` in a write transaction and commits it; where this throws, nothing has changed.
    @discardableResult
    func write<Result>(_ body: (Transaction) throws(StoreError) -> Result) throws(StoreError) -> Result {
        try ForkedChild.refuse()
        let (result, code, number) = try gate.read { () throws(StoreError) in try attempt(body) }
        if code == MDB_SUCCESS { return result }
        if try reopen(after: code) >= number { return result }
        // LMDB answers EIO where the system wrote less than it was given: that is a disk with next to nothing left.
        if code == ENOSPC || code == EDQUOT || (code == EIO && freeBytes(near: path) < PageStore.reserveBytes) {
            throw StoreError(
                .full, "the page store could not be written: no space is left on its file system",
                advice: "Free some space and try again; nothing was lost", path: path, errno: code)
        }
        throw StoreError(
            .io, "the page store could not commit: \(String(cString: mdb_strerror(code)))",
            advice: "Check the file system; nothing was lost", path: path, errno: code)
    }

    /// Commits `body`'s transaction; answers what the commit returned, and the transaction's number.
    private func attempt<Result>(_ body: (Transaction) throws(StoreError) -> Result) throws(StoreError) -> (Result, Int32, Int) {
        let environment = try opened()
        if let poison { throw poison }
        var handle: OpaquePointer?
        let begun = Failpoint.injectedError() ?? mdb_txn_begin(environment, nil, 0, &handle)
        try Self.check(begun, "begin a write transaction", path)
        let result: Result
        do throws(StoreError) {
            result = try body(Transaction(handle!, self))
        } catch {
            mdb_txn_abort(handle)
            throw error
        }
        let number = mdb_txn_id(handle)
        Failpoint.pass("lmdb.commit")
        if let injected = Failpoint.injectedError() {
            mdb_txn_abort(handle)
            return (result, injected, number)
        }
        let code = mdb_txn_commit(handle)
        Failpoint.pass("lmdb.committed")
        return (result, code, number)
    }

    /// Closes the environment, opens it again and syncs it; answers the number of the last transaction that counts.
    private func reopen(after code: Int32) throws(StoreError) -> Int {
        try gate.write { () throws(StoreError) in
            let why = String(cString: mdb_strerror(code))
            do throws(StoreError) {
                if let environment { mdb_env_close(environment) }
                environment = nil
                try open()
                // The kernel may have forgotten pages that it could not write: what the environment shows must be on
                // the disk before anything builds on it.
                try Self.check(
                    Failpoint.injectedError() ?? mdb_env_sync(environment, 1), "sync the page store", path)
                var info = MDB_envinfo()
                try Self.check(mdb_env_info(environment, &info), "query the page store", path)
                return info.me_last_txnid
            } catch {
                let unknown = StoreError(
                    .poisoned, "the page store could not commit (\(why)) nor be reopened: \(error.message)",
                    advice: "Close and reopen the store; no committed data is lost", path: path, errno: code)
                poison = unknown
                throw unknown
            }
        }
    }

    /// Syncs the file: the first thing to do with an environment whose last writer may have died in a commit.
    func sync() throws(StoreError) {
        try gate.read { () throws(StoreError) in
            let environment = try opened()
            try Self.check(Failpoint.injectedError() ?? mdb_env_sync(environment, 1), "sync the page store", path)
        }
    }

    /// Copies the environment, compacted, to `destination`, and syncs the copy.
    func copy(to destination: String) throws(StoreError) {
        try gate.read { () throws(StoreError) in
            let code = mdb_env_copy2(try opened(), destination, UInt32(MDB_CP_COMPACT))
            try Self.check(code, "copy the page store", destination)
        }
        try File(destination, O_RDWR).sync()
    }

    /// Bytes of the file in use, and on LMDB's free list.
    func usage() throws(StoreError) -> (used: Int, free: Int) {
        var info = MDB_envinfo()
        try gate.read { () throws(StoreError) in
            try Self.check(mdb_env_info(try opened(), &info), "query the page store", path)
        }
        let free = try read { (transaction) throws(StoreError) in transaction.freePages() }
        return ((Int(info.me_last_pgno) + 1) * Page.size, free * Page.size)
    }

    fileprivate func handle(_ table: Table) -> MDB_dbi { tables[table.rawValue] }

    /// `what`, which completes "could not …", is asked for where `code` is an error only.
    @inline(__always)
    fileprivate static func check(_ code: Int32, _ what: @autoclosure () -> String, _ path: String) throws(StoreError) {
        if code != MDB_SUCCESS { throw error(code, what(), path) }
    }

    private static func error(_ code: Int32, _ what: String, _ path: String) -> StoreError {
        let text = String(cString: mdb_strerror(code))
        switch code {
        case ENOSPC, EDQUOT, MDB_MAP_FULL:
            return StoreError(
                .full, "could not \(what): \(text)", advice: "Free some space and try again", path: path, errno: code)
        case MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_INVALID, MDB_VERSION_MISMATCH, MDB_NOTFOUND, MDB_PANIC,
            MDB_BAD_VALSIZE:
            return StoreError(
                .damaged, "could not \(what): \(text)",
                advice: "Run `varve verify`, then `varve repair`", path: path, errno: code)
        default:
            return StoreError(
                .io, "could not \(what): \(text)", advice: "Check the file system and its permissions", path: path,
                errno: code)
        }
    }

    /// One transaction. Invariant: used only inside the closure that received it, on its thread.
    struct Transaction {
        private let handle: OpaquePointer
        private let owner: LMDB

        fileprivate init(_ handle: OpaquePointer, _ owner: LMDB) {
            self.handle = handle
            self.owner = owner
        }

        /// The value at `key`, valid until the transaction ends or writes; nil where there is none.
        func get(_ table: Table, _ key: Key) throws(StoreError) -> UnsafeRawBufferPointer? {
            var value = MDB_val()
            let code = key.withValue { mdb_get(handle, owner.handle(table), &$0, &value) }
            if code == MDB_NOTFOUND { return nil }
            try LMDB.check(code, "read table \(table.name)", owner.path)
            return UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)
        }

        /// Refuses to let LMDB free a value whose pages' header is damaged: it believes what that says of their number.
        private func checkReplaceable(_ table: Table, _ key: Key) throws(StoreError) {
            guard let value = try get(table, key), 8 + key.bytes.count + value.count > LMDBFile.largestNode else { return }
            _ = try filePage(of: value)
            let header = value.baseAddress! - 16
            // Nothing here makes a value smaller in the transaction that made it: it has the pages it needs.
            guard header.load(fromByteOffset: 10, as: UInt16.self) & 4 != 0,
                header.load(fromByteOffset: 12, as: UInt32.self) == UInt32((15 + value.count) / Page.size + 1)
            else {
                throw StoreError(
                    .damaged, "the header of a value of table \(table.name) in the page store is damaged",
                    advice: "Run `varve verify`, then `varve repair`", path: owner.path)
            }
        }

        func put(_ table: Table, _ key: Key, _ bytes: [UInt8]) throws(StoreError) {
            try checkReplaceable(table, key)
            let code = bytes.withUnsafeBytes { raw in
                var value = MDB_val(mv_size: raw.count, mv_data: UnsafeMutableRawPointer(mutating: raw.baseAddress))
                return key.withValue { Failpoint.injectedError() ?? mdb_put(handle, owner.handle(table), &$0, &value, 0) }
            }
            try LMDB.check(code, "write table \(table.name)", owner.path)
        }

        /// Space for a value of `count` bytes, to be filled before the next call of this transaction.
        func reserve(_ table: Table, _ key: Key, count: Int) throws(StoreError) -> UnsafeMutableRawBufferPointer {
            try checkReplaceable(table, key)
            var value = MDB_val(mv_size: count, mv_data: nil)
            let code = key.withValue {
                Failpoint.injectedError() ?? mdb_put(handle, owner.handle(table), &$0, &value, UInt32(MDB_RESERVE))
            }
            try LMDB.check(code, "write table \(table.name)", owner.path)
            return UnsafeMutableRawBufferPointer(start: value.mv_data, count: value.mv_size)
        }

        @discardableResult
        func delete(_ table: Table, _ key: Key) throws(StoreError) -> Bool {
            try checkReplaceable(table, key)
            let code = key.withValue { Failpoint.injectedError() ?? mdb_del(handle, owner.handle(table), &$0, nil) }
            if code == MDB_NOTFOUND { return false }
            try LMDB.check(code, "delete from table \(table.name)", owner.path)
            return true
        }

        /// Calls `body` with each row whose key is at or above `first` and starts with `prefix` bytes of it, in order,
        /// until it answers false. `body` must not write.
        func forEach(
            _ table: Table, from first: Key, prefix: Int = 0,
            _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws(StoreError) -> Bool
        ) throws(StoreError) {
            var cursor: OpaquePointer?
            try LMDB.check(mdb_cursor_open(handle, owner.handle(table), &cursor), "open a cursor", owner.path)
            defer { mdb_cursor_close(cursor) }
            let start = first.bytes
            var value = MDB_val()
            var key = MDB_val()
            var code = first.withValue { first in
                key = first
                return mdb_cursor_get(cursor, &key, &value, start.isEmpty ? MDB_FIRST : MDB_SET_RANGE)
            }
            while code == MDB_SUCCESS {
                let keyBytes = UnsafeRawBufferPointer(start: key.mv_data, count: key.mv_size)
                if prefix > 0 {
                    guard keyBytes.count >= prefix, let bytes = keyBytes.baseAddress, memcmp(bytes, start, prefix) == 0 else { return }
                }
                guard try body(keyBytes, UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)) else { return }
                code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
            }
            if code != MDB_NOTFOUND { try LMDB.check(code, "scan table \(table.name)", owner.path) }
        }

        /// How many rows a table has.
        func count(_ table: Table) throws(StoreError) -> Int {
            var statistics = MDB_stat()
            try LMDB.check(mdb_stat(handle, owner.handle(table), &statistics), "query table \(table.name)", owner.path)
            return statistics.ms_entries
        }

        /// Where a value that LMDB keeps on pages of its own begins in the file: the number of its first page.
        ///
        /// LMDB writes it in the 16 bytes before the value. Of a committed page, where it lies in the map tells the same.
        func filePage(of value: UnsafeRawBufferPointer) throws(StoreError) -> Int {
            let header = value.baseAddress! - 16
            let page = header.load(as: UInt64.self)
            let distance = Int(bitPattern: header) - owner.map.lowerBound
            let isMapped = owner.map.contains(Int(bitPattern: header))
            guard page < 1 << 51, !isMapped || UInt64(distance) == page << UInt64(Page.shift) else {
                throw StoreError(
                    .damaged, "the value at byte \(distance) of the page store says that it begins at page \(page)",
                    advice: "Run `varve verify`, then `varve repair`", path: owner.path)
            }
            return Int(page)
        }

        /// The number of the first page of a committed value that LMDB keeps on pages of its own, told from where it lies in the
        /// map: none of its pages is touched. nil where it does not lie there.
        func mappedPage(of value: UnsafeRawBufferPointer) -> Int? {
            let header = Int(bitPattern: value.baseAddress) - LMDBFile.headerSize
            guard owner.map.contains(header), header % Page.size == 0 else { return nil }
            return (header - owner.map.lowerBound) >> Page.shift
        }

        fileprivate func freePages() -> Int {
            var cursor: OpaquePointer?
            guard mdb_cursor_open(handle, 0, &cursor) == MDB_SUCCESS else { return 0 }
            defer { mdb_cursor_close(cursor) }
            var key = MDB_val()
            var value = MDB_val()
            var pages = 0
            while mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == MDB_SUCCESS {
                if value.mv_size >= 8 { pages += Int(value.mv_data.load(as: UInt64.self)) }
            }
            return pages
        }
    }
}
