internal import GRDB
public import VMTypes

extension Catalog {
    /// Makes a new, empty catalog of the store `storeID` (16 bytes) at `path`.
    ///
    /// When it returns, the file is whole and synced, and so is its folder's entry for it. A failed creation
    /// removes what it made; one that a crash interrupts may leave part of it, so the caller creates in a
    /// folder with a temporary name.
    ///
    /// Throws `.storeExists` where a file is there, and `.invalid` for another length of `storeID`.
    public static func create(path: String, storeID: [UInt8]) throws(StoreError) {
        try create(path: path, storeID: storeID, schema: .current)
    }

    static func create(path: String, storeID: [UInt8], schema: CatalogSchema) throws(StoreError) {
        guard storeID.count == 16 else {
            throw StoreError(.invalid, "a store's identity has 16 bytes, not \(storeID.count)", path: path)
        }
        try CatalogFile.claim(path)
        do throws(StoreError) {
            try fill(path: path, storeID: storeID, schema: schema)
            try CatalogFile.sync(path)
        } catch {
            CatalogFile.remove(path)
            throw error
        }
    }

    private static func fill(path: String, storeID: [UInt8], schema: CatalogSchema) throws(StoreError) {
        let queue = try CatalogFile.open(path, readOnly: false)
        defer { try? queue.close() }
        do {
            try schema.migrate(queue)
            try queue.write { db in
                let digits = storeID.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                try db.run("INSERT INTO store (id, uuid, mark) VALUES (1, x'\(digits)', 0)")
            }
            try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = DELETE") }
        } catch {
            throw .catalog(error, doing: "create the catalog", path: path)
        }
    }
}
