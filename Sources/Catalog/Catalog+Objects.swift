internal import GRDB
public import VMTypes

extension Catalog {
    /// The objects that exist at `version`, by number.
    public func objects(at version: Version = .infinity) throws(StoreError) -> [CatalogObject] {
        let moment = StoredVersion.moment(version)
        let found = try read("read the objects") { db in
            try db.list(CatalogSQL.objects, [moment, moment], CatalogObject.init(row:))
        }
        return found.sorted { $0.id < $1.id }
    }

    /// The object called `name` at `version`, or nil.
    public func object(named name: String, at version: Version = .infinity) throws(StoreError) -> CatalogObject? {
        let moment = StoredVersion.moment(version)
        return try read("look up the object \(name)") { db in
            try db.first(CatalogSQL.objectByName, [name, moment, moment], CatalogObject.init(row:))
        }
    }

    /// The object numbered `id` as it is at `version`, or nil.
    public func object(id: ObjectID, at version: Version = .infinity) throws(StoreError) -> CatalogObject? {
        let moment = StoredVersion.moment(version)
        return try read("look up the object \(id)") { db in
            try db.first(CatalogSQL.objectByID, [StoredInteger(id), moment]) { row in
                try row.integer(5) > moment ? CatalogObject(row: row) : nil
            } ?? nil
        }
    }
}

extension CatalogObject {
    /// From a row of `CatalogSQL.objectColumns`.
    init(row: CheckedRow) throws {
        self.init(
            id: ObjectID(try row.word(0)), name: try row.optionalText(1), size: try row.word(2),
            residency: try row.integer(3, as: UInt8.self), since: try row.version(4))
    }
}
