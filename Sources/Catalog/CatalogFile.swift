internal import CCatalog
internal import GRDB
internal import Glibc
internal import VMTypes

/// The catalog's file: how it is opened, and what the system knows about it.
enum CatalogFile {
    /// Seconds to wait for another process's lock.
    static let busyTimeout = 5.0

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Opens a connection with the catalog's settings; `isReading`: with the transaction begun in which who may write reads.
    static func open(_ path: String, readOnly: Bool, isReading: Bool = false) throws(StoreError) -> DatabaseQueue {
        var configuration = Configuration()
        configuration.readonly = readOnly
        configuration.busyMode = .timeout(busyTimeout)
        configuration.label = "varve.catalog"
        // Who may write reads in one transaction (`Catalog.read`).
        configuration.allowsUnsafeTransactions = !readOnly
        configuration.prepareDatabase { db in
            // Before anything is read or written: what it makes has checksums.
            let code = cc_reserve(UnsafeMutableRawPointer(db.sqliteConnection))
            guard code == 0 else { throw DatabaseError(resultCode: ResultCode(rawValue: code), message: "no room for checksums") }
            // A mapped file that is cut short would raise SIGBUS.
            try db.execute(sql: "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")
            try db.execute(sql: "PRAGMA temp_store = MEMORY")
            guard !readOnly else { return }
            try db.execute(sql: "PRAGMA journal_mode = PERSIST; PRAGMA journal_size_limit = 1048576")
            try db.execute(sql: Mutant.isPlanted(.catalogNotSynced) ? "PRAGMA synchronous = OFF" : "PRAGMA synchronous = FULL")
            if isReading { try db.execute(sql: "BEGIN DEFERRED TRANSACTION") }
        }
        do { return try DatabaseQueue(path: name(of: path), configuration: configuration) } catch {
            throw .catalog(error, doing: "open the catalog", path: path)
        }
    }

    /// The URI by which SQLite opens the file through the layer that checks its pages.
    static func name(of path: String) throws(StoreError) -> String {
        guard let layer = cc_layer() else {
            throw StoreError(
                .io, "SQLite takes no layer under its files",
                advice: "Free memory; or use an SQLite that takes file names as URIs, or open a store before the program uses SQLite",
                path: path)
        }
        let marks = Set("/-_.~".utf8)
        let escaped = path.utf8.map { byte in
            let isPlain = marks.contains(byte) || byte < 0x80 && (Character(UnicodeScalar(byte)).isLetter || Character(UnicodeScalar(byte)).isNumber)
            return isPlain ? String(UnicodeScalar(byte)) : (byte < 16 ? "%0" : "%") + String(byte, radix: 16)
        }.joined()
        // Two slashes would begin the name of a host, which may be empty.
        return "file:\(path.hasPrefix("/") ? "//" : "")\(escaped)?vfs=\(String(cString: layer))"
    }

    /// Brings the file at `path`, which nobody else has open, to the format of `schema`; no journal is left.
    static func migrate(_ path: String, to schema: CatalogSchema, doing: String) throws(StoreError) {
        let queue = try open(path, readOnly: false)
        defer { try? queue.close() }
        do {
            try schema.migrate(queue)
            try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = DELETE") }
        } catch { throw .catalog(error, doing: doing, path: path) }
    }

    /// Makes an empty file with the owner and the permissions of another.
    static func claim(_ path: String, like other: String) throws(StoreError) {
        do throws(StoreError) { try claim(path) } catch {
            guard error.code == .storeExists else { throw error }
            throw StoreError(
                .io, "something stands where the migrated catalog would be made", advice: "Move it away and open the store again", path: path)
        }
        var found = stat()
        guard stat(other, &found) == 0 else { throw StoreError(.io, "could not examine the catalog", path: other, errno: errno) }
        // Who may not give files away owns both.
        _ = chown(path, found.st_uid, found.st_gid)
        guard chmod(path, found.st_mode & 0o7777) == 0 else {
            throw StoreError(.io, "could not set the permissions of the migrated catalog", path: path, errno: errno)
        }
    }

    /// Makes an empty file, and refuses to touch one that is there.
    static func claim(_ path: String) throws(StoreError) {
        let file = Glibc.open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            let number = errno
            if number == EEXIST {
                throw StoreError(
                    .storeExists, "a catalog is there already", advice: "Choose another path", path: path)
            }
            throw StoreError(
                number == ENOSPC ? .full : .io, "could not create the catalog",
                advice: "Check that the folder is there and writable", path: path, errno: number)
        }
        Glibc.close(file)
    }

    /// Makes the file and its folder's entry for it durable.
    static func sync(_ path: String) throws(StoreError) {
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        for (target, flags) in [(path, O_RDONLY), (folder, O_RDONLY | O_DIRECTORY)] {
            let file = Glibc.open(target, flags | O_CLOEXEC)
            guard file >= 0 else {
                throw StoreError(.io, "could not open what must be synced", path: target, errno: errno)
            }
            defer { Glibc.close(file) }
            guard fsync(file) == 0 else {
                throw StoreError(.io, "could not sync", advice: "Check the disk", path: target, errno: errno)
            }
        }
    }

    /// Removes a catalog and its journal, as far as they are there.
    static func remove(_ path: String) {
        unlink(path)
        unlink(path + "-journal")
    }
}
