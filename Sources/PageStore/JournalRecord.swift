internal import VMTypes

/// The layout of a journal record; docs/FORMAT.md draws it.
///
/// A record is a *prologue* (header, layers with their page entries, operations), then the whole pages that the entries
/// name, from a page boundary on, then the lines of the patches. The prologue's checksum covers all of it but itself; each
/// whole page is covered by its entry, each layer's lines by a checksum in the layer.
enum JournalFormat {
    static let magic: UInt64 = 0x4345_5245_5652_4156  // "VARVEREC"
    /// Of the superblock, which the records' formats do not change.
    static let superblockFormat: UInt32 = 1
    /// 2: with line patches.
    static let format: UInt32 = 2
    static let headerSize = 128
    static let layerHeaderSize = 40
}

/// The header's fields; offsets as in docs/FORMAT.md.
struct JournalHeader: Equatable {
    var checksum: UInt64 = 0
    var format = JournalFormat.format
    var flags: UInt32 = 0
    var store = StoreUUID.zero
    /// Drawn at each opening: a record of an older lap, or of a tail that was given up, never chains on.
    var nonce: UInt64 = 0
    var version = Version.zero
    var previousVersion = Version.zero
    /// The checksum of the record before.
    var chain: UInt64 = 0
    /// Logical position: bytes since the ring's first use; the place in the file is this modulo the ring's size.
    var position: UInt64 = 0
    var length: UInt64 = 0
    var prologueBytes: UInt32 = 0
    var pageCount: UInt32 = 0
    /// Every record up to this version was on the disk when this one was written.
    var flushedThrough = Version.zero
    /// Every record up to this version was in the page store when this one was written.
    var settledThrough = Version.zero
    /// Nanoseconds since 1970.
    var time: Int64 = 0
    var layerCount: UInt32 = 0
    var operationBytes: UInt32 = 0

    static let deferredFlag: UInt32 = 1

    func encode(to p: UnsafeMutableRawPointer) {
        func put<T: FixedWidthInteger>(_ value: T, _ offset: Int) {
            p.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
        }
        put(JournalFormat.magic, 0)
        put(checksum, 8)
        put(format, 16)
        put(flags, 20)
        put(store.low, 24)
        put(store.high, 32)
        put(nonce, 40)
        put(version.rawValue, 48)
        put(previousVersion.rawValue, 56)
        put(chain, 64)
        put(position, 72)
        put(length, 80)
        put(prologueBytes, 88)
        put(pageCount, 92)
        put(flushedThrough.rawValue, 96)
        put(settledThrough.rawValue, 104)
        put(time, 112)
        put(layerCount, 120)
        put(operationBytes, 124)
    }

    /// nil where the bytes are no record's header.
    init?(from p: UnsafeRawPointer) {
        func get<T: FixedWidthInteger>(_ offset: Int) -> T {
            T(littleEndian: p.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        let magic: UInt64 = get(0)
        guard magic == JournalFormat.magic else { return nil }
        checksum = get(8)
        format = get(16)
        flags = get(20)
        store = StoreUUID(low: get(24), high: get(32))
        nonce = get(40)
        version = Version(get(48))
        previousVersion = Version(get(56))
        chain = get(64)
        position = get(72)
        length = get(80)
        prologueBytes = get(88)
        pageCount = get(92)
        flushedThrough = Version(get(96))
        settledThrough = Version(get(104))
        time = get(112)
        layerCount = get(120)
        operationBytes = get(124)
    }

    init() {}

    /// Checks lengths against each other, so that what follows may trust them; how many lines there are only the entries tell.
    var isConsistent: Bool {
        let pages = RecordLayout(prologueBytes: Int(prologueBytes), pageCount: Int(pageCount), lineCount: 0).length
        return length % UInt64(Page.size) == 0 && prologueBytes >= UInt32(JournalFormat.headerSize)
            && (format < 2 ? length == UInt64(pages) : length >= UInt64(pages))
    }
}

/// Where the parts of a record lie, in bytes from its beginning.
struct RecordLayout: Equatable {
    var prologueBytes: Int
    var pageCount: Int
    /// Lines of all patches.
    var lineCount: Int

    /// Of the first whole page.
    var pages: Int { Page.count(forBytes: prologueBytes) * Page.size }
    /// Of the first line: behind the whole pages, or, where there are none, behind the prologue.
    var lines: Int { pageCount == 0 ? prologueBytes : pages + pageCount * Page.size }
    var length: Int { Page.count(forBytes: lines + lineCount * LineMask.lineSize) * Page.size }
}

/// One object's part of a record: what a commit changed in it.
struct JournalLayer {
    var object: ObjectID
    /// The object's size in bytes from this version on.
    var size: UInt64
    /// Pages at and above this one of older layers are gone (the object was shrunk to it since the last layer).
    var floorPage: UInt32
    /// 0: the pages follow in this record. Else: the number of the page-store record that holds them.
    var record: UInt64
    /// Of the lines of its patches, one after the other; 0 where it has none.
    var lineSum: UInt64 = 0
    var entries: [PageEntry]

    /// Whole pages of the layer that follow the prologue.
    var inlinePageCount: Int { record == 0 ? entries.count { $0.isWhole } : 0 }
    /// Lines of its patches.
    var lineCount: Int { entries.reduce(0) { $0 + ($1.isPatch ? $1.mask.nonzeroBitCount : 0) } }
}

/// Decodes a prologue whose checksum has been verified.
struct JournalPrologue {
    var header: JournalHeader
    var layers: [JournalLayer] = []
    var operations: [UInt8] = []

    var layout: RecordLayout {
        RecordLayout(
            prologueBytes: Int(header.prologueBytes), pageCount: layers.reduce(0) { $0 + $1.inlinePageCount },
            lineCount: layers.reduce(0) { $0 + $1.lineCount })
    }

    /// `bytes` are the header's `prologueBytes`.
    init(header: JournalHeader, bytes: UnsafeRawBufferPointer) throws(StoreError) {
        self.header = header
        var reader = ByteReader(
            UnsafeRawBufferPointer(rebasing: bytes[JournalFormat.headerSize...]), what: "journal record \(header.version)")
        for _ in 0..<header.layerCount {
            let object = ObjectID(try reader.get())
            let size: UInt64 = try reader.get()
            let record: UInt64 = try reader.get()
            let floorPage: UInt32 = try reader.get()
            let count: UInt32 = try reader.get()
            let lineSum: UInt64 = try reader.get()
            guard reader.remaining >= Int(count) * PageEntry.encodedSize else {
                throw StoreError(.damaged, "journal record \(header.version) names more pages than it holds")
            }
            let entries = bytes.baseAddress! + JournalFormat.headerSize + reader.offset
            let layer = JournalLayer(
                object: object, size: size, floorPage: floorPage, record: record, lineSum: lineSum,
                entries: (0..<Int(count)).map { PageEntry(from: entries + $0 * PageEntry.encodedSize) })
            _ = try reader.getBytes(Int(count) * PageEntry.encodedSize)
            guard record == 0 || layer.lineCount == 0 else {
                throw StoreError(.damaged, "journal record \(header.version) names patches of pages that are elsewhere")
            }
            layers.append(layer)
        }
        guard layout.pageCount == Int(header.pageCount), layout.length == Int(header.length) else {
            throw StoreError(.damaged, "journal record \(header.version) is not as long as its entries say")
        }
        operations = try reader.getBytes(Int(header.operationBytes))
    }
}
