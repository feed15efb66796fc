internal import VMTypes

/// The layout of a record's parts in the `records` table; docs/FORMAT.md draws it.
///
/// LMDB puts 16 bytes before a value that it keeps on pages of its own; with a header of 4,080 bytes the whole pages
/// that follow are page-aligned in the file, and can be mapped from it.
enum LayerPart {
    static let magic: UInt64 = 0x5245_5941_4c52_5656  // "VVRLAYER"
    static let headerSize = 4080
    static let entriesOffset = 80
    static let maximumEntries = 200
    static let format: UInt32 = 1

    struct Header {
        var store: StoreUUID
        var object: ObjectID
        var record: UInt64
        var part: UInt32
        /// The object's size in bytes; 0 where the part was staged or merged: the version row says it.
        var size: UInt64
        var entries: [PageEntry]

        /// Bytes of the value: header, whole pages, patches.
        var valueSize: Int { LayerPart.headerSize + entries.count { !$0.isZero } * Page.size }

        func encode(to p: UnsafeMutableRawPointer) {
            func put<T: FixedWidthInteger>(_ value: T, _ offset: Int) {
                p.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
            }
            memset0(p, LayerPart.headerSize)
            put(LayerPart.magic, 0)
            put(LayerPart.format, 16)
            put(UInt32(entries.count), 20)
            put(store.low, 24)
            put(store.high, 32)
            put(object.rawValue, 40)
            put(record, 48)
            put(part, 56)
            put(size, 64)
            for (i, entry) in entries.enumerated() {
                entry.encode(to: p + LayerPart.entriesOffset + i * PageEntry.encodedSize)
            }
            put(Checksum.of(UnsafeRawPointer(p) + 16, count: LayerPart.headerSize - 16), 8)
        }

        /// Checks magic, checksum and lengths: a header that decodes is the one that was written.
        init(from value: UnsafeRawBufferPointer, what: @autoclosure () -> String) throws(StoreError) {
            func damaged(_ why: String) -> StoreError {
                StoreError(.damaged, "\(what()): \(why)", advice: "Run `varve verify`, then `varve repair`")
            }
            guard value.count >= LayerPart.headerSize, let p = value.baseAddress else { throw damaged("the header is cut off") }
            func get<T: FixedWidthInteger>(_ offset: Int) -> T {
                T(littleEndian: p.loadUnaligned(fromByteOffset: offset, as: T.self))
            }
            guard get(0) == LayerPart.magic else { throw damaged("the header's magic is wrong") }
            guard get(8) == Checksum.of(p + 16, count: LayerPart.headerSize - 16) else {
                throw damaged("the header's checksum is wrong")
            }
            let format: UInt32 = get(16)
            guard format == LayerPart.format else { throw damaged("the format \(format) is unknown") }
            let count: UInt32 = get(20)
            guard count <= LayerPart.maximumEntries else { throw damaged("it names \(count) pages") }
            store = StoreUUID(low: get(24), high: get(32))
            object = ObjectID(get(40))
            record = get(48)
            part = get(56)
            size = get(64)
            entries = (0..<Int(count)).map {
                PageEntry(from: p + LayerPart.entriesOffset + $0 * PageEntry.encodedSize)
            }
            guard entries.allSatisfy({ $0.isWhole || $0.isZero }) else {
                throw StoreError(
                    .newerFormat, "\(what()) holds line patches, which format \(LayerPart.format) does not",
                    advice: "Open the store with a newer Varve")
            }
            guard value.count == valueSize else { throw damaged("it is \(value.count) bytes long, not \(valueSize)") }
        }

        init(
            store: StoreUUID, object: ObjectID, record: UInt64, part: UInt32, size: UInt64,
            entries: [PageEntry]
        ) {
            self.store = store
            self.object = object
            self.record = record
            self.part = part
            self.size = size
            self.entries = entries
        }
    }
}
