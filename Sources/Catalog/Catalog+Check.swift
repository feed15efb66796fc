internal import CCatalog
internal import GRDB
public import VMTypes

extension Catalog {
    /// Looks through the whole catalog and says what is wrong, one sentence a problem; empty where nothing is.
    ///
    /// It checks the checksum of each page, SQLite's own structures, references between tables, that no two states of an object or a
    /// task are valid at one version, that live names are used once, that no two entries of a task overlap
    /// at any version, and that nothing is later than the mark.
    public func check() throws(StoreError) -> [String] {
        do throws(StoreError) {
            return try read("check the catalog") { db in
                var problems = try Self.pages(db)
                if problems.isEmpty { problems += try Self.structure(db) }
                if problems.isEmpty { problems += try Self.contents(db) }
                return problems
            }
        } catch where error.code == .damaged {
            return [error.message]
        }
    }

    /// As many damaged pages as are named.
    private static let manyPages = 1_000

    private static func pages(_ db: Database) throws -> [String] {
        // The file may not change meanwhile.
        _ = try mark(in: db)
        var found: UInt32 = 0
        var code: Int32 = 0
        let numbers = [UInt32](unsafeUninitializedCapacity: manyPages) { numbers, count in
            code = cc_damaged_pages(
                UnsafeMutableRawPointer(db.sqliteConnection), numbers.baseAddress, UInt32(manyPages), &found)
            count = Int(found)
        }
        guard code == 0 else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
        return numbers.map { "page \($0) of the catalog (\(CC_PAGE) bytes) is not what was written" }
    }

    private static func structure(_ db: Database) throws -> [String] {
        let faults = try db.list("PRAGMA integrity_check", []) { try $0.text(0) }.filter { $0 != "ok" }
        let references = try db.list("PRAGMA foreign_key_check", []) { row in
            "a row of \(try row.text(0)) refers to a row of \(try row.text(2)) that is not there"
        }
        return faults + references
    }

    /// A row of `objects` or `tasks`.
    private struct Lifetime {
        var number: UInt64
        var born: Int64
        var died: Int64
        var name: String?
        var isLive: Bool { died == StoredVersion.never }
    }

    private static func contents(_ db: Database) throws -> [String] {
        // Each table is read once, by queries that SQLite is quick to prepare: a small catalog is checked in no time.
        let mark = Int64(try mark(in: db).rawValue)
        var problems: [String] = []
        var later: [String] = []
        func count(_ table: String, _ lives: [(born: Int64, died: Int64)]) {
            let found = lives.count { $0.born > mark || ($0.died > mark && $0.died < StoredVersion.never) }
            if found > 0 { later.append("\(found) rows of \(table) are later than the mark, version \(mark)") }
        }
        var tasks: [UInt64: [Lifetime]] = [:]
        for (table, key) in [("objects", "object"), ("tasks", "task")] {
            let rows = try db.list("SELECT \(key), born, died, name FROM \(table) ORDER BY \(key), born") { row in
                Lifetime(number: try row.word(0), born: try row.integer(1), died: try row.integer(2), name: try row.optionalText(3))
            }
            for (row, next) in zip(rows, rows.dropFirst()) where row.number == next.number && next.born < row.died {
                problems.append("\(key) \(row.number) has two states at version \(next.born)")
            }
            var names: [String: Int] = [:]
            for case let name? in rows.lazy.filter(\.isLive).map(\.name) { names[name, default: 0] += 1 }
            for name in names.filter({ $0.value > 1 }).keys.sorted() { problems.append("several \(table) are called \(name)") }
            count(table, rows.map { ($0.born, $0.died) })
            if key == "task" { tasks = Dictionary(grouping: rows, by: \.number) }
        }
        let entries = try db.list("SELECT \(CatalogSQL.entryColumns) FROM entries ORDER BY task, first, born") { row in
            EntrySweep.Lifetime(entry: try CatalogEntry(row: row), born: try row.integer(9), died: try row.integer(10))
        }
        count("entries", entries.map { ($0.born, $0.died) })
        problems += later
        // Forgetting may have taken some of the states that an older entry had; one is left, the live one of a live entry.
        for row in entries {
            let isLive = row.died == StoredVersion.never
            let states = tasks[row.entry.task.rawValue] ?? []
            if states.contains(where: { $0.born < row.died && $0.died > row.born && (!isLive || $0.isLive) }) { continue }
            problems.append("task \(row.entry.task.rawValue) has an entry at \(hex(row.entry.start)) of version \(row.born) without it")
        }
        var start = 0
        while start < entries.count {
            let end = entries[start...].firstIndex { $0.entry.task != entries[start].entry.task } ?? entries.count
            problems += EntrySweep.problems(in: Array(entries[start..<end]))
            start = end
        }
        return problems
    }
}
