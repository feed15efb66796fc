internal import GRDB
internal import Glibc
internal import VMTypes

extension Catalog {
    /// Puts a copy of this catalog, with checksums and migrated to `schema`, in its place. This handle still has the old file.
    ///
    /// In place, a crash would leave pages with checksums among others without: so the file has them throughout, or not at all.
    func rewrite(_ schema: CatalogSchema) throws(StoreError) {
        let new = path + "-new"
        // What a crash left of an attempt before.
        CatalogFile.remove(new)
        do throws(StoreError) {
            try CatalogFile.claim(new, like: path)
            let name = try CatalogFile.name(of: new)
            let doing = "migrate the catalog to format \(schema.format)"
            try use(doing) { try queue.writeWithoutTransaction { try $0.execute(sql: "VACUUM INTO ?", arguments: [name]) } }
            try CatalogFile.migrate(new, to: schema, doing: doing)
            try CatalogFile.sync(new)
        } catch {
            CatalogFile.remove(new)
            throw error
        }
        // Nothing is left to do in the old file's journal, and the new file must not find it.
        guard unlink(path + "-journal") == 0 || errno == ENOENT else {
            throw StoreError(.io, "could not remove the catalog's journal", advice: "Check the disk", path: path + "-journal", errno: errno)
        }
        try CatalogFile.sync(path)
        guard rename(new, path) == 0 else {
            throw StoreError(.io, "could not put the migrated catalog in its place", advice: "Check the disk", path: path, errno: errno)
        }
        try CatalogFile.sync(path)
    }
}
