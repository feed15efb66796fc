extension PersistentDictionary: PersistentContainer {
    public static var layout: TypeLayout {
        TypeLayout(ContainerHandle.self, name: "PersistentDictionary", parameters: [Key.layout, Value.layout])
    }

    @inlinable public static var ownsMemory: Bool { true }

    @inlinable
    public static func create(in space: HeapSpace) throws(HeapError) -> Self { try Self(in: space) }

    @inlinable
    public static func store(_ value: Self, in space: HeapSpace) throws(HeapError) -> ContainerHandle {
        try space.adopt(.dictionary, at: value.header, of: value.space)
        return ContainerHandle(offset: value.header)
    }

    /// The dictionary that lies there. One that a damaged heap describes wrongly reads as empty, and is reported to the heap.
    @inlinable
    public static func load(_ stored: ContainerHandle, in space: HeapSpace) -> Self {
        do throws(HeapError) { return try Self(validating: stored, in: space) } catch {
            space.fail(error)
            return Self(header: space.detachedHeader(.dictionary), in: space)
        }
    }

    /// The dictionary that lies there.
    ///
    /// - Throws: `.damaged` where what is there can't be such a dictionary.
    @inlinable
    public init(validating handle: ContainerHandle, in space: HeapSpace) throws(HeapError) {
        let header = handle.offset
        try space.validateHeader(.dictionary, at: header, byteCount: HashTableFormat.headerSize)
        let depth = Int(space.read(header &+ HashTableFormat.depth, as: UInt32.self))
        let directory: Int = space.read(header &+ HashTableFormat.directory)
        guard space.count(at: header) >= 0, space.read(header &+ HashTableFormat.slotStride) == UInt32(Self.slotStride),
            space.read(header &+ HashTableFormat.valueOffset) == UInt32(Self.valueOffset), depth <= HashTableFormat.maximumDepth,
            depth == 0
                ? directory == header &+ HashTableFormat.onlyEntry : space.holds(directory, 8 &<< depth, alignment: 8),
            Self(header: header, in: space).mayHold(space.count(at: header))
        else {
            throw space.damage(
                .dictionary, at: header,
                "\(space.count(at: header)) keys in slots of \(Self.slotStride) bytes, with a directory of 2^\(depth) entries at "
                    + "offset \(directory)")
        }
        self.init(header: header, in: space)
    }

    /// Whether the table has room for so many keys, as far as its directory says: a damaged count should make nobody
    /// reserve memory for it.
    @inlinable
    func mayHold(_ count: Int) -> Bool {
        guard count <= space.byteCount / Self.slotStride else { return false }
        // Segments of the usual size; where keys of like hashes made larger ones, they are asked.
        return count <= (HashTableFormat.slotsPerChunk &<< Self.largestShift) &<< depth || count <= slotCount
    }

    /// Frees the dictionary with all that it holds. No value that shows it may be used afterwards.
    @inlinable
    public func release() throws(HeapError) { try Self.release(ContainerHandle(offset: header), in: space) }

    @inlinable
    public static func release(_ stored: ContainerHandle, in space: HeapSpace) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let dictionary = try Self(validating: stored, in: space)
        try dictionary.releaseElements()
        try dictionary.freeTable()
        space.write(0 as UInt32, at: stored.offset)
        try space.free(stored.offset)
    }
}
