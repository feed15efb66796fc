internal import GRDB
internal import Migrations
internal import VMTypes

/// The numbered steps that make a catalog's tables, and what marks a file as a catalog.
struct CatalogSchema: Sendable {
    /// SQLite's `application_id` of every catalog: "Varv" as a big-endian number.
    static let applicationID: Int64 = 0x5661_7276

    /// What this build knows.
    static let current = CatalogSchema(steps: Migrations.all)

    /// The first format whose pages have checksums.
    static let checkedFormat = 2

    let steps: [(identifier: String, sql: String)]

    /// The format that all steps together make; a file holds it as SQLite's `user_version`.
    var format: Int { steps.count }

    /// Brings a file to `format`, each step in a transaction of its own.
    func migrate(_ queue: DatabaseQueue) throws {
        var migrator = DatabaseMigrator()
        for (index, step) in steps.enumerated() {
            migrator.registerMigration(step.identifier) { db in
                try db.execute(sql: step.sql)
                try db.execute(sql: "PRAGMA user_version = \(index + 1)")
                try db.execute(sql: "PRAGMA application_id = \(Self.applicationID)")
            }
        }
        try migrator.migrate(queue)
    }

    /// The format of an open file.
    ///
    /// Throws `.damaged` where it is no catalog, and `.newerFormat` where later steps were applied to it.
    func format(of db: Database, path: String) throws -> Int {
        guard try db.first("PRAGMA application_id", [], { try $0.integer(0) }) == Self.applicationID else {
            throw StoreError(
                .damaged, "the file is not a Varve catalog", advice: StoreError.rebuildAdvice, path: path)
        }
        let found = try db.first("PRAGMA user_version", [], { try $0.integer(0, as: Int.self) }) ?? 0
        let applied = try db.list("SELECT identifier FROM grdb_migrations ORDER BY identifier", []) { try $0.text(0) }
        let known = Set(steps.map(\.identifier))
        let unknown = applied.filter { !known.contains($0) }
        guard unknown.isEmpty, found <= format else {
            let steps = unknown.isEmpty ? "" : ", with \(unknown.joined(separator: ", "))"
            throw StoreError(
                .newerFormat, "the catalog has format \(found)\(steps); this build knows format \(format)",
                advice: "Open the store with the Varve that made it, or a later one", path: path)
        }
        return found
    }
}
