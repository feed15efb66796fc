internal import GRDB
public import VMTypes

extension Catalog {
    /// Looks through the whole catalog and says what is wrong, one sentence a problem; empty where nothing is.
    ///
    /// It checks SQLite's own structures, references between tables, that no two states of an object or a
    /// task are valid at one version, that live names are used once, that no two entries of a task overlap
    /// at any version, and that nothing is later than the mark.
    public func check() throws(StoreError) -> [String] {
        do throws(StoreError) {
            return try read("check the catalog") { db in
                var problems = try Self.structure(db)
                if problems.isEmpty {
                    problems += try Self.states(db)
                    problems += try Self.overlaps(db)
                }
                return problems
            }
        } catch where error.code == .damaged {
            return [error.message]
        }
    }

    private static func structure(_ db: Database) throws -> [String] {
        let faults = try db.list("PRAGMA integrity_check", []) { try $0.text(0) }.filter { $0 != "ok" }
        let references = try db.list("PRAGMA foreign_key_check", []) { row in
            "a row of \(try row.text(0)) refers to a row of \(try row.text(2)) that is not there"
        }
        return faults + references
    }

    private static func states(_ db: Database) throws -> [String] {
        var problems: [String] = []
        let mark = Int64(try mark(in: db).rawValue)
        for (table, key) in [("objects", "object"), ("tasks", "task")] {
            problems += try db.list(
                """
                SELECT number, next FROM (SELECT \(key) AS number, died, lead(born)
                    OVER (PARTITION BY \(key) ORDER BY born) AS next FROM \(table)) WHERE next < died
                """, []
            ) { "\(key) \(try $0.word(0)) has two states at version \(try $0.integer(1))" }
            problems += try db.list(
                "SELECT name FROM \(table) WHERE died = ? AND name IS NOT NULL GROUP BY name HAVING count(*) > 1",
                [StoredVersion.never]
            ) { "several \(table) are called \(try $0.text(0))" }
        }
        for table in ["objects", "tasks", "entries"] {
            problems += try db.list(
                "SELECT count(*) FROM \(table) WHERE born > ?1 OR (died > ?1 AND died < ?2) HAVING count(*) > 0",
                [mark, StoredVersion.never]
            ) { "\(try $0.integer(0)) rows of \(table) are later than the mark, version \(mark)" }
        }
        // Forgetting may have taken some of the states that an older entry had; one is left, the live one of a
        // live entry.
        problems += try db.list(
            """
            SELECT task, first, born FROM entries AS e WHERE NOT EXISTS
                (SELECT 1 FROM tasks AS t WHERE t.task = e.task AND t.born < e.died AND t.died > e.born
                    AND (e.died < ?1 OR t.died = ?1))
            """, [StoredVersion.never]
        ) { "task \(try $0.word(0)) has an entry at \(hex(try $0.word(1))) of version \(try $0.integer(2)) without it" }
        return problems
    }

    private static func overlaps(_ db: Database) throws -> [String] {
        var problems: [String] = []
        for task in try db.list("SELECT task FROM task_numbers", [], { try $0.integer(0) }) {
            let rows = try db.list("SELECT \(CatalogSQL.entryColumns) FROM entries WHERE task = ?", [task]) { row in
                EntrySweep.Lifetime(
                    entry: try CatalogEntry(row: row), born: try row.integer(9), died: try row.integer(10))
            }
            problems += EntrySweep.problems(in: rows)
        }
        return problems
    }
}
