internal import VMTypes

/// The row of `checkpoints` at (0, object): what of the object's page table is held there, and for which state.
///
/// It is true for the object as settled through `through`, its lineage included. Layers that settled later are put over
/// it by whoever reads it. A chunk that is not listed holds zeros only.
struct CheckpointRow: Row, Equatable {
    static let what = "a page table's checkpoint"

    struct Chunk: Equatable {
        var index: UInt32
        /// Of the chunk's head, which has the checksum of its slots.
        var sum: UInt64
    }

    var through: Version
    /// The object's size at that version in bytes.
    var size: UInt64
    /// Number and digest of the version and lineage rows up to that version.
    var chain: ChainRow
    /// The object, and those that its lineage takes pages from, newest first.
    var sources: [ObjectID]
    /// Ascending.
    var chunks: [Chunk]

    static func key(_ object: ObjectID) -> Key { Key(0, object.rawValue) }
    static func key(_ object: ObjectID, chunk: UInt32) -> Key { Key(object.rawValue).with(chunk) }

    func encode(to writer: inout ByteWriter) {
        writer.put(through.rawValue)
        writer.put(size)
        chain.encode(to: &writer)
        writer.put(UInt32(sources.count))
        for source in sources { writer.put(source.rawValue) }
        writer.put(UInt32(chunks.count))
        for chunk in chunks {
            writer.put(chunk.index)
            writer.put(chunk.sum)
        }
    }

    init(from reader: inout ByteReader) throws(StoreError) {
        through = Version(try reader.get())
        size = try reader.get()
        chain = try ChainRow(from: &reader)
        sources = []
        for _ in 0..<(try reader.get(UInt32.self)) { sources.append(ObjectID(try reader.get())) }
        chunks = []
        let count: UInt32 = try reader.get()
        chunks.reserveCapacity(min(Int(count), reader.remaining / 12))
        for _ in 0..<count { chunks.append(Chunk(index: try reader.get(), sum: try reader.get())) }
    }

    init(through: Version, size: UInt64, chain: ChainRow, sources: [ObjectID], chunks: [Chunk]) {
        self.through = through
        self.size = size
        self.chain = chain
        self.sources = sources
        self.chunks = chunks
    }
}
