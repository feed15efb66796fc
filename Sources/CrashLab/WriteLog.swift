/// What a block device was told to do, in the format that dm-log-writes and QEMU's blklogwrites write.
///
/// The first sector: magic number, version, number of entries (64 bits each, little-endian), the sector size (32). Then for each entry
/// a sector: where it begins, how many sectors, flags, the length of a mark's text (64 bits each); behind it the sectors' bytes, but
/// for those that were discarded.
struct WriteLog {
    struct Entry: Equatable {
        /// Where it lies in the log.
        var offset: Int
        /// What was before it is durable, and where it has bytes these come after that.
        var isFlush: Bool
        /// Durable when it has happened.
        var isForced: Bool
        /// The bytes' place on the device; empty: it changes nothing.
        var place: Range<Int>
        /// Where they lie in the log; nil: they were discarded, and are zeros.
        var data: Range<Int>?
    }

    private static let magic: UInt64 = 0x006a_7366_7773_6872
    private enum Flag {
        static let flush: UInt64 = 1, forced: UInt64 = 2, discard: UInt64 = 4, mark: UInt64 = 8
        static let known = flush | forced | discard | mark | 16
    }

    let bytes: [UInt8]
    private(set) var entries: [Entry] = []
    /// Where the entries end.
    private(set) var end: Int

    /// `size`: the device's, in bytes. Throws where the log is damaged, cut short, or names what the device does not have.
    init(_ bytes: [UInt8], deviceSize size: Int) throws(LabError) {
        func word(_ offset: Int) -> UInt64 { bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) } }
        guard bytes.count >= 32, word(0) == Self.magic else { throw LabError("the block device's log does not begin as one") }
        guard word(8) == 1 else { throw LabError("the block device's log is of version \(word(8)), not 1") }
        let sector = Int(word(24) & 0xffff_ffff)
        guard (512...65536).contains(sector), sector & (sector - 1) == 0 else { throw LabError("the block device's log has sectors of \(sector) bytes") }
        var at = sector
        var left = word(16)
        while left > 0 {
            func damaged(_ what: String) -> LabError { LabError("the block device's log at byte \(at): \(what)") }
            guard at <= bytes.count - sector else { throw damaged("cut short, \(left) entries are missing") }
            let flags = word(at + 16)
            guard flags & ~Flag.known == 0 else { throw damaged("unknown flags \(flags)") }
            guard let first = Int(exactly: word(at)), let count = Int(exactly: word(at + 8)), first <= size / sector, count <= size / sector - first else {
                throw damaged("\(word(at + 8)) sectors from \(word(at)) on, past the device's end")
            }
            // A mark's text lies in the entry's own sector.
            let isMark = flags & Flag.mark != 0
            guard word(at + 24) <= (isMark ? sector - 32 : 0) else { throw damaged("a text of \(word(at + 24)) bytes") }
            let length = isMark ? 0 : count * sector
            let dataLength = flags & Flag.discard != 0 ? 0 : length
            let data = at + sector
            guard dataLength <= bytes.count - data else { throw damaged("the bytes of \(count) sectors are cut short") }
            entries.append(
                Entry(
                    offset: at, isFlush: flags & Flag.flush != 0, isForced: flags & Flag.forced != 0, place: first * sector..<first * sector + length,
                    data: flags & Flag.discard != 0 ? nil : data..<data + dataLength))
            at = data + dataLength
            left -= 1
        }
        end = at
        self.bytes = bytes
    }
}

extension WriteLog {
    /// What lies between two flushes, and may be on the device or not when the power goes before the second one is over.
    struct Epoch: Equatable {
        /// How many entries are durable.
        var durable: Int
        /// Entries that are pending, those that are forced too.
        var pending: Range<Int>
        /// Where the second flush lies in the log: what was acknowledged when the log was no longer than this counts.
        var end: Int
    }

    /// Those that end behind `offset`, in order.
    func epochs(from offset: Int) -> [Epoch] {
        var found: [Epoch] = []
        var begin = 0
        for index in 0...entries.count {
            guard index == entries.count || entries[index].isFlush else { continue }
            let end = index == entries.count ? end : entries[index].offset
            if end > offset { found.append(Epoch(durable: begin, pending: begin..<index, end: end)) }
            begin = index
        }
        return found
    }
}
