internal import GRDB
public import VMTypes

/// A catalog that has been opened and read, and not yet been found to belong to a store: nothing of it was changed.
///
/// `paired` makes it usable. It may be opened while the page store that it belongs to still is.
public struct UnpairedCatalog: Sendable {
    /// The store that it says it belongs to.
    public let storeID: [UInt8]
    private let format: Int
    private let mark: Version
    private let catalog: Catalog
    private let schema: CatalogSchema

    /// Opens the file. Throws `.noStore`, `.newerFormat`, `.damaged`, `.busy`, `.io`.
    public init(path: String, readOnly: Bool = false) throws(StoreError) {
        try self.init(path: path, readOnly: readOnly, schema: .current)
    }

    init(path: String, readOnly: Bool, schema: CatalogSchema) throws(StoreError) {
        let catalog = try Catalog(path: path, readOnly: readOnly)
        do throws(StoreError) {
            (format, storeID, mark) = try catalog.read("open the catalog") { db in
                let format = try schema.format(of: db, path: path)
                let found = try db.first("SELECT uuid, mark FROM store", []) { (try $0.blob(0), try $0.version(1)) }
                guard let found else {
                    throw StoreError(.damaged, "the catalog names no store", advice: StoreError.rebuildAdvice, path: path)
                }
                return (format, found.0, found.1)
            }
        } catch {
            catalog.close()
            throw error
        }
        self.catalog = catalog
        self.schema = schema
    }

    /// The catalog, as that of the store `storeID`, migrated where it is older and may be changed; closed where this throws
    /// `.mismatchedFiles`, `.readOnly` or what the migration met.
    public func paired(with storeID: [UInt8]) throws(StoreError) -> Catalog {
        do throws(StoreError) {
            try adopt(storeID)
            guard format < schema.format else { return catalog }
            let migrated = try migrated()
            migrated.remember(mark)
            return migrated
        } catch {
            close()
            throw error
        }
    }

    /// The catalog in whichever format it has, for reading, whoever it belongs to.
    var asItIs: Catalog { catalog }

    /// Gives it up.
    public func close() { catalog.close() }

    private func adopt(_ storeID: [UInt8]) throws(StoreError) {
        guard self.storeID == storeID || Mutant.isPlanted(.foreignCatalogTaken) else {
            throw StoreError(
                .mismatchedFiles,
                "the catalog belongs to the store \(name(self.storeID)), the page store to \(name(storeID))",
                advice: "Put back the catalog that was made with this page store, or run `varve repair`",
                path: catalog.path)
        }
        catalog.remember(mark)
    }

    /// The catalog in the current format, opened anew; this one is closed.
    private func migrated() throws(StoreError) -> Catalog {
        guard !catalog.readOnly else {
            throw StoreError(
                .readOnly, "the catalog has format \(format) and must become format \(schema.format)",
                advice: "Open the store once for writing", path: catalog.path)
        }
        try catalog.rest()
        try catalog.syncJournal()
        if format < CatalogSchema.checkedFormat {
            try catalog.rewrite(schema)
        } else {
            try catalog.use("migrate the catalog to format \(schema.format)") { try schema.migrate(catalog.queue) }
        }
        catalog.close()
        return try Catalog(path: catalog.path, readOnly: false)
    }

    private func name(_ id: [UInt8]) -> String {
        id.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
