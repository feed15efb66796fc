internal import GRDB
public import VMTypes

extension Catalog {
    /// Copies the catalog, while it is in use, to a new file, synced.
    public func copy(to path: String) throws(StoreError) {
        try CatalogFile.claim(path)
        let target = try CatalogFile.open(path, readOnly: false)
        defer { try? target.close() }
        try use("copy the catalog to \(path)") { try queue.backup(to: target) }
        try CatalogFile.sync(path)
    }
}
