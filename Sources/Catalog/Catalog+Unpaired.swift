internal import GRDB
public import VMTypes

extension Catalog {
    /// Opens a catalog for reading, whichever store it belongs to: for `repair`, which saves what it says.
    public static func openUnpaired(path: String) throws(StoreError) -> Catalog {
        guard CatalogFile.exists(path) else { throw StoreError(.noStore, "the catalog is missing", path: path) }
        let owner: [UInt8]
        do {
            let queue = try CatalogFile.open(path, readOnly: true)
            defer { try? queue.close() }
            owner = try queue.read { db in try db.first("SELECT uuid FROM store", []) { try $0.blob(0) } } ?? []
        } catch { throw .catalog(error, doing: "read the catalog", path: path) }
        return try Catalog(path: path, storeID: owner, readOnly: true)
    }
}
