internal import GRDB
internal import VMTypes

extension CatalogWriter {
    /// Makes the map within a range exactly `entries`; a row that stays as it was is not touched.
    mutating func setEntries(of task: TaskID, start: UInt64, end: UInt64, to entries: [CatalogEntry]) throws {
        guard try isLive(task) else { return note("no \(task) whose map could change") }
        let old = Set(try liveEntries(of: task, start: start, end: end))
        let new = Set(entries)
        for entry in old where !new.contains(entry) { try kill(entry) }
        for entry in entries where !old.contains(entry) { try insert(entry) }
    }

    /// The live entries that overlap a range: those that begin in it, and one that reaches into it.
    private func liveEntries(of task: TaskID, start: UInt64, end: UInt64) throws -> [CatalogEntry] {
        guard start < end else { return [] }
        var found: [CatalogEntry] = []
        for range in StoredInteger.ranges(0, start).reversed() {
            let before = try db.first(
                CatalogSQL.lastEntryFrom, [StoredInteger(task), range.lowerBound, range.upperBound],
                CatalogEntry.init(row:))
            guard let before else { continue }
            if before.end > start { found.append(before) }
            break
        }
        for range in StoredInteger.ranges(start, end) {
            found += try db.list(
                CatalogSQL.entriesFrom, [StoredInteger(task), range.lowerBound, range.upperBound],
                CatalogEntry.init(row:))
        }
        return found
    }

    private func kill(_ entry: CatalogEntry) throws {
        let key: StatementArguments = [StoredInteger(entry.task), StoredInteger(entry.start), StoredVersion.never, now]
        let removed = try db.run("DELETE FROM entries WHERE task = ? AND first = ? AND died = ? AND born = ?", key)
        if removed > 0 { return }
        try db.run("UPDATE entries SET died = ?4 WHERE task = ?1 AND first = ?2 AND died = ?3", key)
    }

    private func insert(_ entry: CatalogEntry) throws {
        try db.run(
            """
            INSERT INTO entries (\(CatalogSQL.entryColumns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                StoredInteger(entry.task), StoredInteger(entry.start), StoredInteger(entry.end),
                entry.object.map { StoredInteger($0) }, StoredInteger(entry.offset), entry.current.rawValue,
                entry.maximum.rawValue, entry.inheritance.rawValue, entry.copied, now, StoredVersion.never,
            ])
    }
}
