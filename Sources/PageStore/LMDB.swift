internal import CLMDB
internal import Glibc
internal import VMTypes

/// The tables of the page store; docs/FORMAT.md draws their keys and values.
enum Table: Int, CaseIterable {
    case meta, records, versions, chains, objects, names, lineage, snapshots, graveyard, outbox, checkpoints

    var name: String { "\(self)" }
}

/// The LMDB environment of one store: the only code that calls LMDB.
///
/// Write transactions are synchronous closures (committed on another thread they would leave the writer's lock held for
/// ever) and are serialized by the page store's settle lock. After a commit error the environment is poisoned: nothing is
/// written through it again until the store is reopened.
final class LMDB: @unchecked Sendable {
    let path: String
    private let environment: OpaquePointer
    private var tables: [MDB_dbi] = []
    private let readOnly: Bool
    private(set) var poison: StoreError?

    init(path: String, readOnly: Bool, mapBytes: Int = 1 << 40) throws(StoreError) {
        self.path = path
        self.readOnly = readOnly
        try Self.reserveLockFile(path + "-lock")
        var created: OpaquePointer?
        try Self.check(mdb_env_create(&created), "create an LMDB environment", path)
        environment = created!
        mdb_env_set_maxdbs(environment, UInt32(Table.allCases.count))
        mdb_env_set_maxreaders(environment, 1024)
        var size = mapBytes
        var code = MDB_SUCCESS
        // A limit on address space (ulimit -v) refuses a generous map: a smaller one serves too.
        repeat {
            mdb_env_set_mapsize(environment, size)
            let flags = UInt32(MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD) | (readOnly ? UInt32(MDB_RDONLY) : 0)
            code = Failpoint.injectedError() ?? mdb_env_open(environment, path, flags, 0o600)
            size /= 4
        } while code == ENOMEM && size > 1 << 30
        do {
            try Self.check(code, "open the page store", path)
            var dead: Int32 = 0
            mdb_reader_check(environment, &dead)
            try openTables()
        } catch {
            mdb_env_close(environment)
            throw error
        }
    }

    deinit { mdb_env_close(environment) }

    /// `-lock` is mapped by LMDB: on a full disk an unreserved page of it would raise SIGBUS.
    private static func reserveLockFile(_ path: String) throws(StoreError) {
        let file = try File(path, O_RDWR | O_CREAT)
        if try file.size() < 1 << 17 { try file.allocate(offset: 0, count: 1 << 17) }
    }

    private func openTables() throws(StoreError) {
        var transaction: OpaquePointer?
        try Self.check(
            mdb_txn_begin(environment, nil, readOnly ? UInt32(MDB_RDONLY) : 0, &transaction), "begin a transaction", path)
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
    }

    /// Runs `body` in a read transaction. What it gets from the tables dies with the transaction.
    @discardableResult
    func read<Result>(_ body: (Transaction) throws(StoreError) -> Result) throws(StoreError) -> Result {
        var handle: OpaquePointer?
        try Self.check(mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &handle), "begin a read transaction", path)
        defer { mdb_txn_abort(handle) }
        return try body(Transaction(handle!, self))
    }

    /// Runs `body` in a write transaction and commits it; where `body` throws, nothing has changed.
    @discardableResult
    func write<Result>(_ body: (Transaction) throws(StoreError) -> Result) throws(StoreError) -> Result {
        if let poison { throw poison }
        var handle: OpaquePointer?
        let begun = Failpoint.injectedError() ?? mdb_txn_begin(environment, nil, 0, &handle)
        try Self.check(begun, "begin a write transaction", path)
        let result: Result
        do {
            result = try body(Transaction(handle!, self))
        } catch {
            mdb_txn_abort(handle)
            throw error
        }
        Failpoint.pass("lmdb.commit")
        let code: Int32
        if let injected = Failpoint.injectedError() {
            mdb_txn_abort(handle)
            code = injected
        } else {
            code = mdb_txn_commit(handle)
        }
        if code != MDB_SUCCESS {
            poison = StoreError(
                code == ENOSPC ? .full : .poisoned,
                "the page store could not commit: \(String(cString: mdb_strerror(code)))",
                advice: code == ENOSPC
                    ? "Free some space, then close and reopen the store; no committed data is lost"
                    : "Close and reopen the store; no committed data is lost", path: path, errno: code)
            throw poison!
        }
        return result
    }

    /// Syncs the file: the first thing to do with an environment whose last writer may have died in a commit.
    func sync() throws(StoreError) { try Self.check(mdb_env_sync(environment, 1), "sync the page store", path) }

    /// Copies the environment, compacted, to `destination`, and syncs the copy.
    func copy(to destination: String) throws(StoreError) {
        try Self.check(mdb_env_copy2(environment, destination, UInt32(MDB_CP_COMPACT)), "copy the page store", destination)
        try File(destination, O_RDWR).sync()
    }

    /// Bytes of the file in use, and on LMDB's free list.
    func usage() throws(StoreError) -> (used: Int, free: Int) {
        var info = MDB_envinfo()
        try Self.check(mdb_env_info(environment, &info), "query the page store", path)
        let free = try read { (transaction) throws(StoreError) in transaction.freePages() }
        return ((Int(info.me_last_pgno) + 1) * Page.size, free * Page.size)
    }

    fileprivate func handle(_ table: Table) -> MDB_dbi { tables[table.rawValue] }

    fileprivate static func check(_ code: Int32, _ what: String, _ path: String) throws(StoreError) {
        guard code != MDB_SUCCESS else { return }
        let text = String(cString: mdb_strerror(code))
        switch code {
        case ENOSPC, EDQUOT, MDB_MAP_FULL:
            throw StoreError(
                .full, "could not \(what): \(text)", advice: "Free some space and try again", path: path, errno: code)
        case MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_INVALID, MDB_VERSION_MISMATCH, MDB_NOTFOUND, MDB_PANIC,
            MDB_BAD_VALSIZE:
            throw StoreError(
                .damaged, "could not \(what): \(text)",
                advice: "Run `varve verify`, then `varve repair`", path: path, errno: code)
        default:
            throw StoreError(
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

        func put(_ table: Table, _ key: Key, _ bytes: [UInt8]) throws(StoreError) {
            let code = bytes.withUnsafeBytes { raw in
                var value = MDB_val(mv_size: raw.count, mv_data: UnsafeMutableRawPointer(mutating: raw.baseAddress))
                return key.withValue { Failpoint.injectedError() ?? mdb_put(handle, owner.handle(table), &$0, &value, 0) }
            }
            try LMDB.check(code, "write table \(table.name)", owner.path)
        }

        /// Space for a value of `count` bytes, to be filled before the next call of this transaction.
        func reserve(_ table: Table, _ key: Key, count: Int) throws(StoreError) -> UnsafeMutableRawBufferPointer {
            var value = MDB_val(mv_size: count, mv_data: nil)
            let code = key.withValue {
                Failpoint.injectedError() ?? mdb_put(handle, owner.handle(table), &$0, &value, UInt32(MDB_RESERVE))
            }
            try LMDB.check(code, "write table \(table.name)", owner.path)
            return UnsafeMutableRawBufferPointer(start: value.mv_data, count: value.mv_size)
        }

        @discardableResult
        func delete(_ table: Table, _ key: Key) throws(StoreError) -> Bool {
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
                    guard keyBytes.count >= prefix, keyBytes.prefix(prefix).elementsEqual(start.prefix(prefix)) else { return }
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

    /// Where a value that LMDB keeps on pages of its own begins in the file: the number of its first page, which LMDB
    /// writes in the 16 bytes before it.
    static func filePage(of value: UnsafeRawBufferPointer) -> Int {
        Int(truncatingIfNeeded: (value.baseAddress! - 16).load(as: UInt64.self))
    }
}

/// A key: big-endian fields, so that LMDB's byte order is the order of the numbers; or a name.
struct Key {
    private(set) var bytes: [UInt8] = []

    init() {}
    init(_ name: String) { bytes = Array(name.utf8) }
    init(_ fields: UInt64...) { for field in fields { append(field) } }

    func with(_ part: UInt32) -> Key {
        var key = self
        withUnsafeBytes(of: part.bigEndian) { key.bytes.append(contentsOf: $0) }
        return key
    }

    private mutating func append(_ field: UInt64) {
        withUnsafeBytes(of: field.bigEndian) { bytes.append(contentsOf: $0) }
    }

    fileprivate func withValue(_ body: (inout MDB_val) -> Int32) -> Int32 {
        bytes.withUnsafeBytes { raw in
            var value = MDB_val(mv_size: raw.count, mv_data: UnsafeMutableRawPointer(mutating: raw.baseAddress))
            return body(&value)
        }
    }

    /// The big-endian number at byte `offset` of a key that was read; nil where it is too short.
    static func field(_ key: UnsafeRawBufferPointer, _ offset: Int) -> UInt64? {
        guard key.count >= offset + 8 else { return nil }
        return UInt64(bigEndian: key.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    static func part(_ key: UnsafeRawBufferPointer, _ offset: Int) -> UInt32? {
        guard key.count >= offset + 4 else { return nil }
        return UInt32(bigEndian: key.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
}
