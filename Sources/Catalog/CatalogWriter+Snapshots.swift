internal import GRDB
internal import VMTypes

extension CatalogWriter {
    func createSnapshot(_ name: String, version: Version, object: ObjectID?, message: String) throws {
        try db.run(
            "INSERT OR REPLACE INTO snapshots (name, version, object, message, made, time) VALUES (?, ?, ?, ?, ?, ?)",
            [
                name, Int64(version.rawValue), object.map { StoredInteger($0) }, Self.storable(message), now, time,
            ])
    }

    mutating func deleteSnapshot(_ name: String) throws {
        if try db.run("DELETE FROM snapshots WHERE name = ?", [name]) == 0 { note("no snapshot \(name) to delete") }
    }

    mutating func renameSnapshot(_ from: String, to: String) throws {
        if try db.run("UPDATE OR REPLACE snapshots SET name = ? WHERE name = ?", [to, from]) == 0 {
            note("no snapshot \(from) to rename")
        }
    }
}
