internal import Glibc
internal import VMTypes

/// The ring of young records: one file, written with zeros once and recycled.
///
/// Positions are logical (bytes since the first use); a record lies whole at `position % ringBytes` behind the
/// superblock, never across the ring's end. The file is used past the page cache (O_DIRECT) where the file system
/// allows it. The journal knows nothing of who may write when: `PageStore` lets one thread append at a time.
final class Journal: @unchecked Sendable {
    static let superblockMagic: UInt64 = 0x4e52_554f_4a56_5256  // "VRVJOURN"
    static let superblockSize = 4096
    static let minimumRing = 256 << 10

    let file: File
    let store: StoreUUID
    let ringBytes: Int

    /// A record may take this much of the ring at most: settling must be able to overlap with committing.
    var maximumRecord: Int { ringBytes / 3 }

    /// A larger ring is a mistake, and its end would not be a file's offset.
    static let maximumRing = 1 << 46

    /// Bytes of the longest record that can be written before the page store says that there are longer ones.
    static let usualLongestRecord: UInt64 = 1 << 20

    /// What the page store says before a record of `length` bytes is written: somewhat more, so that it says it seldom.
    static func roundedLongestRecord(_ length: UInt64) -> UInt64 {
        guard length > usualLongestRecord else { return usualLongestRecord }
        let step = (1 as UInt64) << UInt64(61 - length.leadingZeroBitCount)
        return (length + step - 1) / step * step
    }

    /// Creates the file, superblock and zeros written and synced.
    static func create(path: String, store: StoreUUID, ringBytes: Int) throws(StoreError) {
        let file = try File(path, O_RDWR | O_CREAT | O_EXCL)
        try file.allocate(offset: 0, count: superblockSize + ringBytes)
        let block = AlignedBuffer(capacity: 1 << 20)
        memset0(block.base, block.capacity)
        var offset = superblockSize
        while offset < superblockSize + ringBytes {
            let count = min(block.capacity, superblockSize + ringBytes - offset)
            try file.write(UnsafeRawBufferPointer(block[0..<count]), at: offset)
            offset += count
        }
        let p = block.base
        p.storeBytes(of: superblockMagic.littleEndian, as: UInt64.self)
        p.storeBytes(of: JournalFormat.superblockFormat.littleEndian, toByteOffset: 16, as: UInt32.self)
        p.storeBytes(of: UInt32(Page.size).littleEndian, toByteOffset: 20, as: UInt32.self)
        p.storeBytes(of: store.low.littleEndian, toByteOffset: 24, as: UInt64.self)
        p.storeBytes(of: store.high.littleEndian, toByteOffset: 32, as: UInt64.self)
        p.storeBytes(of: UInt64(ringBytes).littleEndian, toByteOffset: 40, as: UInt64.self)
        p.storeBytes(of: Checksum.of(UnsafeRawPointer(p) + 16, count: superblockSize - 16).littleEndian, toByteOffset: 8, as: UInt64.self)
        try file.write(UnsafeRawBufferPointer(block[0..<superblockSize]), at: 0)
        if Mutant.isPlanted(.newJournalNotSynced) { return }
        try file.sync()
    }

    init(path: String, readOnly: Bool = false) throws(StoreError) {
        file = try File(path, readOnly ? O_RDONLY : O_RDWR)
        // The superblock never changes: it comes from the page cache, and nothing of the ring with it.
        file.adviseRandomAccess()
        let block = AlignedBuffer(capacity: Self.superblockSize)
        try file.read(into: block[0..<Self.superblockSize], at: 0)
        let p = UnsafeRawPointer(block.base)
        func get<T: FixedWidthInteger>(_ offset: Int) -> T { T(littleEndian: p.load(fromByteOffset: offset, as: T.self)) }
        guard get(0) == Self.superblockMagic, get(8) == Checksum.of(p + 16, count: Self.superblockSize - 16) else {
            throw StoreError(
                .damaged, "the journal's superblock is damaged", advice: "Restore a backup, or run `varve repair`", path: path)
        }
        let format: UInt32 = get(16)
        guard format <= JournalFormat.superblockFormat else {
            throw StoreError(
                .newerFormat, "the journal has format \(format); this build knows formats up to \(JournalFormat.superblockFormat)",
                advice: "Open the store with a newer Varve", path: path)
        }
        let pageSize: UInt32 = get(20)
        guard pageSize == UInt32(Page.size) else {
            throw StoreError(.unsupported, "the store has pages of \(pageSize) bytes; this host's have \(Page.size)", path: path)
        }
        store = StoreUUID(low: get(24), high: get(32))
        ringBytes = Int(get(40) as UInt64)
        let size = try file.size()
        guard size >= Self.superblockSize + ringBytes else {
            throw StoreError(
                .damaged, "the journal was cut off: \(size) bytes of \(Self.superblockSize + ringBytes)",
                advice: "Restore a backup, or run `varve repair`", path: path)
        }
        try file.bypassCacheIfPossible()
    }

    /// Where a record of `length` bytes goes when the ring's head stands at `head`.
    func position(forRecordOf length: Int, head: UInt64) -> UInt64 {
        let within = Int(head % UInt64(ringBytes))
        return within + length <= ringBytes ? head : nextLap(head)
    }

    func nextLap(_ position: UInt64) -> UInt64 { (position / UInt64(ringBytes) + 1) * UInt64(ringBytes) }

    private func offset(_ position: UInt64) -> Int { Self.superblockSize + Int(position % UInt64(ringBytes)) }

    func write(_ bytes: UnsafeRawBufferPointer, at position: UInt64) throws(StoreError) {
        try file.write(bytes, at: offset(position))
    }

    /// Reads from a logical position; `bytes` is page-aligned and does not pass the ring's end.
    func read(into bytes: UnsafeMutableRawBufferPointer, at position: UInt64) throws(StoreError) {
        try file.read(into: bytes, at: offset(position))
    }

    func flush() throws(StoreError) {
        if Mutant.isPlanted(.journalNotFlushed) { return }
        try file.dataSync()
    }
}
