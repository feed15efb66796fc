internal import VMTypes

/// Where the ring's unsettled part begins: kept in the page store, moved by settling alone.
struct JournalMark: Equatable {
    /// Every version up to this one is in the page store.
    var settled: Version
    /// The logical position of the record after it.
    var position: UInt64
    /// The prologue checksum of the record before that position.
    var chain: UInt64
    /// The version of the record before that position.
    var last: Version
    /// The logical position of that record.
    var lastPosition: UInt64
}

/// What recovery finds in the ring.
struct JournalScan {
    var records: [JournalPrologue] = []
    /// The records from this index on are not proved flushed: they are written again before anything is served.
    var firstUnproven = 0
    /// The bytes of unproven records, by index, as far as they were kept.
    private(set) var unprovenBytes: [Int: AlignedBuffer] = [:]
    /// The ring's head, and the chain and version of the last intact record.
    var head: UInt64
    var chain: UInt64
    var last: Version
    /// Why the ring is damaged rather than cut off, where it is.
    var damage: StoreError?

    /// Follows the chain from `mark` to its end.
    ///
    /// A record is taken when its prologue is intact and chains on; its pages are read only where no later record
    /// proves that it was flushed. Where the chain breaks, a later record that says the broken one was flushed makes
    /// it *damaged*; else it is the torn tail of a crash.
    /// No record behind the mark has more than `longestRecord` bytes.
    init(_ journal: Journal, from mark: JournalMark, longestRecord: UInt64) throws(StoreError) {
        head = mark.position
        chain = mark.chain
        last = mark.last
        let buffer = AlignedBuffer(capacity: 64 << 10)
        let ahead = JournalReadAhead(journal)
        while true {
            guard
                let found = try Self.prologue(
                    journal, at: head, chain: chain, after: last, from: mark, ahead: ahead, buffer: buffer)
            else { break }
            if found.header.settledThrough > mark.settled {
                damage = Self.older(mark, found.header, journal)
            }
            head = found.header.position + found.header.length
            chain = found.header.checksum
            last = found.header.version
            records.append(found)
            ahead.prepare(after: found.header.length, head: head, limit: mark.position + UInt64(journal.ringBytes))
        }
        // Prologues up to here are intact: what is missing begins here, wherever pages are cut.
        let end = head
        let isChained = !records.isEmpty
        // Read while the last records are: where the chain holds, no more of the ring is looked through.
        let tail = isChained ? SideTask { RingPart(journal, behind: end, longestRecord) } : nil
        try cutTornPages(journal, mark)
        if damage == nil, !Mutant.isPlanted(.damageTakenForTornTail) {
            try findProofOfDamage(journal, mark, end, tail?.wait(), longestRecord, buffer)
        }
    }

    private static func older(_ mark: JournalMark, _ header: JournalHeader, _ journal: Journal) -> StoreError {
        StoreError(
            .damaged,
            "the page store is older than the journal: it ends at version \(mark.settled), the journal knows \(header.settledThrough) settled",
            advice: "Put back the pages.lmdb that belongs to this journal, or restore a backup", path: journal.file.path)
    }

    private static func prologue(
        _ journal: Journal, at head: UInt64, chain: UInt64, after last: Version, from mark: JournalMark, ahead: JournalReadAhead,
        buffer: AlignedBuffer
    ) throws(StoreError) -> JournalPrologue? {
        for position in head % UInt64(journal.ringBytes) == 0 ? [head] : [head, journal.nextLap(head)] {
            guard position < mark.position + UInt64(journal.ringBytes),
                let header = try header(journal, at: position, ahead: ahead, buffer: buffer),
                header.position == position,
                header.chain == chain && header.previousVersion == last && header.version > last || Mutant.isPlanted(.anyRecordChainsOn)
            else { continue }
            return try JournalPrologue(
                header: header, bytes: UnsafeRawBufferPointer(buffer[0..<Int(header.prologueBytes)]))
        }
        return nil
    }

    /// The header at `position` with its prologue in `buffer`, where both are intact.
    private static func header(_ journal: Journal, at position: UInt64, ahead: JournalReadAhead? = nil, buffer: AlignedBuffer)
        throws(StoreError) -> JournalHeader?
    {
        // The prologue of all but large records comes with the first read.
        let first = min(4 * Page.size, journal.ringBytes - Int(position % UInt64(journal.ringBytes)))
        if let ahead {
            try ahead.read(into: buffer[0..<first], at: position)
        } else {
            try journal.read(into: buffer[0..<first], at: position)
        }
        guard let header = JournalHeader(from: buffer.base), header.store == journal.store, header.isConsistent,
            header.length <= UInt64(journal.maximumRecord),
            Int(position % UInt64(journal.ringBytes)) + Int(header.length) <= journal.ringBytes
        else { return nil }
        let padded = Page.count(forBytes: Int(header.prologueBytes)) * Page.size
        if padded > first {
            buffer.reserve(padded)
            try journal.read(into: buffer[0..<padded], at: position)
        }
        let sum = Checksum.of(UnsafeRawPointer(buffer.base) + 16, count: Int(header.prologueBytes) - 16)
        guard sum == header.checksum || Mutant.isPlanted(.prologueUnchecked) else { return nil }
        guard header.format <= JournalFormat.format else {
            throw StoreError(
                .newerFormat, "a journal record has format \(header.format); this build knows \(JournalFormat.format)",
                advice: "Open the store with a newer Varve", path: journal.file.path)
        }
        return header
    }

    /// Bytes of unproven records that are kept to be written again.
    private static let keptBytes = 8 << 20

    /// Drops the first record that no later one proves flushed and whose pages are not all there, and what follows it.
    private mutating func cutTornPages(_ journal: Journal, _ mark: JournalMark) throws(StoreError) {
        let flushed = records.last?.header.flushedThrough ?? .zero
        firstUnproven = records.firstIndex { $0.header.version > flushed } ?? records.count
        var kept = 0
        for index in firstUnproven..<records.count {
            let record = records[index]
            let buffer = AlignedBuffer(capacity: Int(record.header.length))
            if try !Self.isIntact(record, journal, buffer) {
                head = record.header.position
                chain = record.header.chain
                last = record.header.previousVersion
                records.removeSubrange(index...)
                return
            }
            kept += buffer.capacity
            if kept <= Self.keptBytes { unprovenBytes[index] = buffer }
        }
    }

    /// Reads the whole record into `buffer`; false where not all of its pages are there.
    private static func isIntact(_ record: JournalPrologue, _ journal: Journal, _ buffer: AlignedBuffer) throws(StoreError) -> Bool {
        let length = Int(record.header.length)
        try journal.read(into: buffer[0..<length], at: record.header.position)
        guard let header = JournalHeader(from: buffer.base), header == record.header,
            Checksum.of(UnsafeRawPointer(buffer.base) + 16, count: Int(header.prologueBytes) - 16) == header.checksum
                || Mutant.isPlanted(.prologueUnchecked)
        else { return false }
        if Mutant.isPlanted(.tornPagesAccepted) { return true }
        let layout = record.layout
        var page = UnsafeRawPointer(buffer.base) + layout.pages
        var lines = UnsafeRawPointer(buffer.base) + layout.lines
        for layer in record.layers where layer.record == 0 {
            for entry in layer.entries where entry.isWhole {
                if Checksum.of(page, count: Page.size) != entry.checksum { return false }
                page += Page.size
            }
            let bytes = layer.lineCount * LineMask.lineSize
            if bytes > 0, Checksum.of(lines, count: bytes) != layer.lineSum { return false }
            lines += bytes
        }
        return true
    }

    /// Looks for a record that says what the chain lacks had been flushed; the chain's prologues are intact up to `end`.
    ///
    /// The ring is written without a gap but at its end. So where the record at the chain's end, or before the mark, is
    /// intact, no later lap has come past it: what was written behind it begins at its end or at the next lap's beginning,
    /// and whatever follows a damaged record there begins within that record's length. Where that record is not, the page
    /// store may be an older copy, and the proof anywhere in the ring.
    private mutating func findProofOfDamage(
        _ journal: Journal, _ mark: JournalMark, _ end: UInt64, _ tail: RingPart?, _ longestRecord: UInt64,
        _ buffer: AlignedBuffer
    ) throws(StoreError) {
        let ring = journal.ringBytes
        var isThere = tail != nil
        if !isThere { isThere = try Self.isThere(mark, journal, buffer) }
        guard isThere else {
            return try findProof(in: 0..<ring, journal, mark, buffer)
        }
        let start = Int(end % UInt64(ring))
        let reach = RingPart.reach(journal, longestRecord)
        try findProof(in: start..<min(start + reach, ring), known: tail, journal, mark, buffer)
        // The missing record may begin at the next lap, or lie here and the one behind it there.
        guard damage == nil, start + 2 * reach > ring else { return }
        try findProof(in: 0..<min(reach, ring), journal, mark, buffer)
    }

    /// True where the record before the mark is still where it was written, or the ring begins at the mark.
    private static func isThere(_ mark: JournalMark, _ journal: Journal, _ buffer: AlignedBuffer) throws(StoreError) -> Bool {
        if mark.position == 0 { return true }
        guard mark.last > .zero, mark.lastPosition < mark.position, mark.lastPosition % UInt64(Page.size) == 0,
            let header = try header(journal, at: mark.lastPosition, buffer: buffer)
        else { return false }
        return header.position == mark.lastPosition && header.checksum == mark.chain && header.version == mark.last
            && header.position + header.length == mark.position
    }

    /// The beginning of `range` may be `known`.
    private mutating func findProof(
        in range: Range<Int>, known: RingPart? = nil, _ journal: Journal, _ mark: JournalMark, _ buffer: AlignedBuffer
    ) throws(StoreError) {
        let ring = UInt64(journal.ringBytes)
        let window = known?.bytes ?? AlignedBuffer(capacity: min(range.count, RingPart.most))
        var position = range.lowerBound
        while position < range.upperBound {
            var count = min(window.capacity, range.upperBound - position)
            if let known, position == range.lowerBound, known.count > 0 {
                count = known.count
            } else {
                try journal.read(into: window[0..<count], at: UInt64(position))
            }
            for offset in stride(from: 0, to: count, by: Page.size) {
                guard let candidate = JournalHeader(from: window.base + offset), candidate.store == journal.store,
                    candidate.position % ring == UInt64(position + offset), candidate.version > last,
                    candidate.flushedThrough > last || candidate.settledThrough > mark.settled,
                    let header = try Self.header(journal, at: candidate.position, buffer: buffer)
                else { continue }
                if header.settledThrough > mark.settled {
                    damage = Self.older(mark, header, journal)
                    return
                }
                damage = StoreError(
                    .damaged,
                    "the journal's record after version \(last) is damaged: version \(header.version) says that it had been flushed",
                    advice: "Restore a backup, or run `varve repair`, which keeps version \(last)", path: journal.file.path)
                return
            }
            position += count
        }
    }
}

/// What lies in the ring behind a chain's end, as far as a damaged record's successor may begin there.
private struct RingPart: Sendable {
    /// Bytes that are read at once.
    static let most = 4 << 20
    let bytes: AlignedBuffer
    /// 0 where it could not be read.
    let count: Int

    /// Bytes behind the chain's end in which the record after a damaged one begins, where none is longer than `longestRecord`.
    static func reach(_ journal: Journal, _ longestRecord: UInt64) -> Int {
        (Page.count(forBytes: Int(min(longestRecord, UInt64(journal.maximumRecord)))) + 1) * Page.size
    }

    init(_ journal: Journal, behind end: UInt64, _ longestRecord: UInt64) {
        let start = Int(end % UInt64(journal.ringBytes))
        let wanted = min(Self.reach(journal, longestRecord), journal.ringBytes - start, Self.most)
        bytes = AlignedBuffer(capacity: wanted)
        do throws(StoreError) {
            try journal.read(into: bytes[0..<wanted], at: UInt64(start))
            count = wanted
        } catch {
            count = 0
        }
    }
}
