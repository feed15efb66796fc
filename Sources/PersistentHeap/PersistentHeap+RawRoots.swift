internal import Glibc

/// Roots as other languages have them: bytes under a name, with the text of a layout that no Swift type stands for.
extension PersistentHeap {
    /// Where the value of a root lies; the root is made, of zeros, where it is not there.
    ///
    /// - Parameters:
    ///   - layouts: The texts that are the type's layout; the first is that of a new root.
    ///   - byteCount: Bytes of a value; 1 at least.
    /// - Throws: As `root(_:of:version:default:)`.
    package func rawRoot(_ name: String, layouts: [String], byteCount: Int, version: Int) throws(HeapError) -> Int {
        if space.isClosed { throw HeapError(.wrongState, "the heap was closed", advice: "Open it again") }
        return try space.changing { () throws(HeapError) in
            if let number = directory.find(name) {
                let record = directory.record(number)
                let recorded = directory.text(record.layout, record.layoutBytes)
                return try place(
                    of: number, name, Self.layout(layouts.contains(recorded) ? recorded : layouts[0], byteCount), version,
                    RootDirectory.valueKind)
            }
            try requireNew(name, version)
            let offset = try space.allocate(byteCount: byteCount)
            memset(space.mutableBytes(offset, byteCount).baseAddress!, 0, byteCount)
            do throws(HeapError) {
                try directory.add(name, layout: layouts[0], version: version, kind: RootDirectory.valueKind, value: offset)
            } catch {
                try? space.free(offset)
                throw error
            }
            return offset
        }
    }

    private static func layout(_ text: String, _ byteCount: Int) -> TypeLayout {
        TypeLayout(text: text, size: byteCount, stride: byteCount, alignment: 16)
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
        if space.isClosed { throw HeapError(.wrongState, "the heap was closed", advice: "Open it again") }
        let count = directory.count
        if count == 0 { return [] }
        let place = space.header(HeapFormat.directoryOffset)
        guard count > 0, let bytes = space.knownBlock(at: place), count <= bytes / MemoryLayout<RootDirectory.Record>.stride else {
            throw HeapError(.damaged, "the heap's \(count) roots are in no block that is long enough", advice: "Run `varve heap check`")
        }
        var found: [RootRecord] = []
        for number in 0..<count {
            let record = directory.record(number)
            func text(_ block: Int, _ byteCount: UInt32) -> String? {
                guard let bytes = space.knownBlock(at: block), Int(byteCount) <= bytes else { return nil }
                return directory.text(block, byteCount)
            }
            guard let name = text(record.name, record.nameBytes), let layout = text(record.layout, record.layoutBytes),
                space.knownBlock(at: record.value) != nil || record.kind == RootDirectory.containerKind && record.value == 0
            else {
                throw HeapError(.damaged, "root \(number) of the heap is not where the heap says", advice: "Run `varve heap check`")
            }
            found.append(
                RootRecord(
                    name: name, layout: layout, version: Int(record.version),
                    isContainer: record.kind == RootDirectory.containerKind, offset: record.value,
                    blocks: [record.name, record.layout]))
        }
        return found
    }
}
