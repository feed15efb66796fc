#if DEBUG
internal import Foundation
internal import GRDB
internal import Synchronization
internal import VMTypes
@testable internal import Catalog

/// A real store's catalog, of which one cell after the other holds what it should not.
final class CatalogDecoders: Sendable {
    static let shared = CatalogDecoders()

    /// Each column of each table.
    let cells: [(table: String, column: String)]
    private let catalog: Catalog
    private let tasks: [TaskID]
    private let turn = Mutex(())

    private init() {
        do {
            let store = try RealStore()
            let path = store.path + "/catalog.sqlite"
            try Self.forgetTypes(path)
            let found = try UnpairedCatalog(path: path, readOnly: false)
            catalog = try found.paired(with: found.storeID)
            tasks = try catalog.tasks().map(\.id)
            try catalog.rest()
            cells = try catalog.queue.writeWithoutTransaction { db in
                // A file may hold anything. Its folder goes with `store`: what SQLite would write beside it is in memory.
                for pragma in ["ignore_check_constraints = ON", "foreign_keys = OFF", "journal_mode = MEMORY", "synchronous = OFF"] {
                    try db.execute(sql: "PRAGMA \(pragma)")
                }
                let tables = ["store", "objects", "task_numbers", "tasks", "entries", "snapshots", "commits"]
                for table in tables { try db.execute(sql: "CREATE TEMP TABLE whole_\(table) AS SELECT * FROM main.\(table)") }
                return try tables.flatMap { table in try db.columns(in: table).map { (table, $0.name) } }
            }
        } catch { fatalError("no catalog for the decoders: \(error)") }
    }

    /// STRICT tables refuse what a damaged file may hold.
    private static func forgetTypes(_ path: String) throws {
        let queue = try CatalogFile.open(path, readOnly: false)
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA writable_schema = ON")
            try db.execute(sql: "UPDATE sqlite_schema SET sql = replace(replace(sql, 'STRICT, ', ''), ') STRICT', ')')")
        }
        try queue.close()
    }

    static func changes(_ bytes: [UInt8]) throws {
        let changes = try CatalogChange.decode(bytes)
        let again = try CatalogChange.decode(CatalogChange.encode(changes))
        precondition(again == changes, "what is written is not what was read")
    }

    /// Which cell (one byte), a value's kind (one), the value: it is put into as many of the column's rows as take it.
    func cell(_ bytes: [UInt8]) throws {
        guard bytes.count >= 2 else { throw NotTaken() }
        let (table, column) = cells[Int(bytes[0]) % cells.count]
        let value = Self.value(bytes[1], Array(bytes.dropFirst(2)))
        try turn.withLock { (_) throws in
            try catalog.queue.write { try $0.execute(sql: "UPDATE OR IGNORE \(table) SET \"\(column)\" = ?", arguments: [value]) }
            let result = Result { try read() }
            try catalog.rest()
            try catalog.queue.write { try $0.execute(sql: "DELETE FROM \(table); INSERT INTO \(table) SELECT * FROM temp.whole_\(table)") }
            try result.get()
        }
    }

    /// All that reads rows; what one part throws does not keep the next from being read.
    private func read() throws {
        catalog.remember(nil)
        var failure: (any Error)?
        func attempt(_ body: () throws -> Void) { do { try body() } catch { failure = failure ?? error } }
        attempt { _ = try catalog.mark }
        attempt { _ = try catalog.snapshots() }
        attempt { _ = try catalog.log() }
        attempt { _ = try catalog.check() }
        for version in [Version.infinity, Version(3)] {
            attempt { _ = try catalog.objects(at: version) }
            attempt { _ = try catalog.tasks(at: version) }
            for task in tasks { attempt { _ = try catalog.entries(of: task, at: version) } }
        }
        catalog.remember(nil)
        if let failure { throw failure }
    }

    private static func value(_ kind: UInt8, _ bytes: [UInt8]) -> DatabaseValue {
        let word = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return switch kind % 5 {
        case 0: Int64(bitPattern: word).databaseValue
        case 1: Double(bitPattern: word).databaseValue
        case 2: String(decoding: bytes, as: UTF8.self).databaseValue
        case 3: Data(bytes).databaseValue
        default: .null
        }
    }
}
#endif
