public import VMTypes

extension Catalog {
    /// Opens a catalog for reading, whichever store it belongs to: for `repair`, which saves what it says.
    public static func openUnpaired(path: String) throws(StoreError) -> Catalog {
        // Older formats have the same tables.
        try UnpairedCatalog(path: path, readOnly: true).asItIs
    }
}
