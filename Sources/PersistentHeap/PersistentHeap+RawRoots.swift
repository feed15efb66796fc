internal import Glibc

/// Roots as other languages have them: bytes under a name, with the text of a layout that no Swift type stands for.
extension PersistentHeap {
    /// Where the value of a root lies, and whether this call made the root, of zeros, since it was not there.
    ///
    /// - Parameters:
    ///   - layouts: The texts that are the type's layout; the first is that of a new root.
    ///   - byteCount: Bytes of a value; 1 at least.
    /// - Throws: As `root(_:of:version:default:)`.
    package func rawRoot(_ name: String, layouts: [String], byteCount: Int, version: Int) throws(HeapError)
        -> (offset: Int, isNew: Bool)
    {
        func layout(of root: RootDirectory.Root) -> String { layouts.contains(root.layout) ? root.layout : layouts[0] }
        if let root = try directory.find(name) {
            return (try place(of: root, layout(of: root), version, RootDirectory.valueKind), false)
        }
        try requireNew(name, version)
        let (root, isNew) = try directory.find(name, orAdd: layouts[0], version: version, kind: RootDirectory.valueKind) {
            () throws(HeapError) in
            let offset = try space.allocate(byteCount: byteCount)
            memset(space.mutableBytes(offset, byteCount).baseAddress!, 0, byteCount)
            return offset
        } unmake: {
            try? space.free($0)
        }
        return (isNew ? root.record.value : try place(of: root, layout(of: root), version, RootDirectory.valueKind), isNew)
    }

    /// A root as the heap records it.
    package struct RootRecord: Sendable {
        package var name: String
        /// The text of its type's layout.
        package var layout: String
        package var version: Int
        /// Whether it is a collection.
        package var isContainer: Bool
        /// Where its value lies, or its collection's first block.
        package var offset: Int
        /// The blocks that the record of it has: of its name and of its layout's text.
        var blocks: [Int]
    }

    /// The heap's roots, in the order in which they were made. Throws `.damaged` where they are not where the heap says.
    package func rootRecords() throws(HeapError) -> [RootRecord] {
        try directory.all().map { root in
            RootRecord(
                name: root.name, layout: root.layout, version: Int(root.record.version),
                isContainer: root.record.kind == RootDirectory.containerKind, offset: root.record.value,
                blocks: [root.record.name, root.record.layout])
        }
    }
}
