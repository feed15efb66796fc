internal import GRDB
public import VMTypes

extension Catalog {
    /// Every snapshot, by version and then by name.
    public func snapshots() throws(StoreError) -> [CatalogSnapshot] {
        try read("read the snapshots") { try $0.list(CatalogSQL.snapshots, [], CatalogSnapshot.init(row:)) }
    }

    /// The snapshot called `name`, or nil.
    public func snapshot(named name: String) throws(StoreError) -> CatalogSnapshot? {
        try read("look up the snapshot \(name)") { db in
            try db.first(CatalogSQL.snapshotByName, [name], CatalogSnapshot.init(row:))
        }
    }

    /// Commits from the newest to the oldest.
    ///
    /// - Parameters:
    ///   - limit: at most so many; nil for all.
    ///   - before: only versions below this one; nil for all.
    public func log(limit: Int? = nil, before: Version? = nil) throws(StoreError) -> [CatalogLogEntry] {
        let moment = StoredVersion.moment(before ?? .infinity)
        let limit = limit.map { max($0, 0) } ?? Int.max
        return try read("read the log") { db in
            try db.list(CatalogSQL.log, [moment, limit]) { row in
                CatalogLogEntry(
                    version: try row.version(0), time: try row.real(1), message: try row.text(2),
                    pages: try row.integer(3, as: Int.self), bytes: try row.integer(4, as: Int.self),
                    kinds: CatalogChangeKinds(rawValue: try row.integer(5)))
            }
        }
    }
}

extension CatalogSnapshot {
    /// From a row of `CatalogSQL.snapshots`.
    init(row: CheckedRow) throws {
        self.init(
            name: try row.text(0), version: try row.version(1),
            object: try row.optionalWord(2).map { ObjectID($0) }, message: try row.text(3), time: try row.real(4))
    }
}
