internal import GRDB
internal import VMTypes

extension CatalogWriter {
    func createObject(_ id: ObjectID, name: String?, size: UInt64, residency: UInt8) throws {
        try endObject(id)
        try insert(CatalogObject(id: id, name: name, size: size, residency: residency, since: commit.version))
    }

    mutating func updateObject(_ id: ObjectID, doing: String, _ update: (inout CatalogObject) -> Void) throws {
        let live = try db.first(CatalogSQL.objectByID, [StoredInteger(id), StoredVersion.never]) { row in
            try row.integer(5) == StoredVersion.never ? CatalogObject(row: row) : nil
        } ?? nil
        guard let live else { return note("no object \(id) to \(doing)") }
        var changed = live
        update(&changed)
        try endObject(id)
        changed.since = commit.version
        try insert(changed)
    }

    mutating func deleteObject(_ id: ObjectID) throws {
        if try endObject(id) == 0 { note("no object \(id) to delete") }
    }

    /// Ends the live state of an object; one that this commit made was never there.
    @discardableResult
    private func endObject(_ id: ObjectID) throws -> Int {
        let removed = try db.run(
            "DELETE FROM objects WHERE object = ? AND born = ? AND died = ?",
            [StoredInteger(id), now, StoredVersion.never])
        if removed > 0 { return removed }
        return try db.run(
            """
            UPDATE objects SET died = ?1 WHERE object = ?2 AND died = ?3 AND born =
                (SELECT born FROM objects WHERE object = ?2 ORDER BY born DESC LIMIT 1)
            """, [now, StoredInteger(id), StoredVersion.never])
    }

    private func insert(_ object: CatalogObject) throws {
        try db.run(
            "INSERT INTO objects (object, born, died, name, size, residency) VALUES (?, ?, ?, ?, ?, ?)",
            [
                StoredInteger(object.id), now, StoredVersion.never, object.name, StoredInteger(object.size),
                Int64(object.residency),
            ])
    }
}
