/// Making room: segments that double while they are small, and split then; a directory that doubles when a segment has to split
/// that has an entry to itself.
extension PersistentDictionary {
    /// The most chunks that a segment is meant to have, as a logarithm.
    @inlinable
    static var largestShift: Int {
        let chunks = HashTableFormat.segmentSize / Self.chunkStride
        return chunks < 2 ? 0 : Int.bitWidth - 1 - chunks.leadingZeroBitCount
    }

    @inlinable
    var segmentCount: Int { space.read(header &+ HashTableFormat.segmentCount) }

    /// A segment without keys. Its bytes are declared.
    @inlinable
    func makeSegment(chunkShift: Int, localDepth: Int) throws(HeapError) -> HashTableFormat.Entry {
        let (bytes, overflow) = Self.chunkStride.multipliedReportingOverflow(by: 1 << chunkShift)
        guard chunkShift < 32, !overflow, bytes <= space.byteCount else {
            throw HeapError(.full, "A segment of 2^\(chunkShift) chunks does not fit into the heap")
        }
        let offset = try space.allocate(byteCount: bytes, alignment: Swift.max(16, Self.slotAlignment))
        let segment = HashTableFormat.Entry(offset: offset, localDepth: localDepth, chunkShift: chunkShift)
        empty(segment)
        return segment
    }

    @inlinable
    func empty(_ segment: HashTableFormat.Entry) {
        space.willWrite(segment.offset, Self.chunkStride &<< segment.chunkShift)
        for chunk in 0..<segment.chunkCount {
            space.writeDeclared(0 as UInt64, at: segment.offset &+ chunk &* Self.chunkStride)
            space.writeDeclared(0 as UInt64, at: segment.offset &+ chunk &* Self.chunkStride &+ 8)
        }
    }

    /// Copies a slot into a segment that is declared and has room.
    @inlinable @inline(__always)
    func carry(_ slot: Int, hash: UInt64, to segment: HashTableFormat.Entry) {
        let place = emptySlot(in: segment, hash: hash, patience: Int.max)
        space.writeDeclared(HashTableFormat.tag(hash), at: place.chunk &+ place.lane)
        (space.base + place.slot).copyMemory(from: space.base + slot, byteCount: Self.slotStride)
        if place.passed > 0 { countOverflow(in: segment, hash: hash, passed: place.passed, by: 1) }
    }

    /// Calls `body` with the offset of each slot of a segment that has a key.
    @inlinable @inline(__always)
    func forEachSlot(of segment: HashTableFormat.Entry, _ body: (Int) throws(HeapError) -> Void) throws(HeapError) {
        for index in 0..<segment.chunkCount {
            let chunk = segment.offset &+ index &* Self.chunkStride
            for half in 0..<2 {
                var lanes: UInt64 = space.read(chunk &+ half &* 8) & (half == 0 ? 0x8080_8080_8080_8080 : 0x0000_8080_8080_8080)
                while lanes != 0 {
                    let lane = half &* 8 &+ lanes.trailingZeroBitCount &>> 3
                    try body(chunk &+ Self.firstSlot &+ lane &* Self.slotStride)
                    lanes &= lanes &- 1
                }
            }
        }
    }

    /// Calls `body` with each segment.
    @inlinable
    func forEachSegment(_ body: (HashTableFormat.Entry) throws(HeapError) -> Void) throws(HeapError) {
        try forEachSegment(of: directory, depth: depth, body)
    }

    /// Calls `body` with each segment of a directory.
    @inlinable
    func forEachSegment(
        of directory: Int, depth: Int, _ body: (HashTableFormat.Entry) throws(HeapError) -> Void
    ) throws(HeapError) {
        var index = 0
        while index < 1 &<< depth {
            let segment = HashTableFormat.Entry(bits: space.read(directory &+ index &* 8))
            index &+= 1
            guard segment.bits != 0 else { continue }
            guard isSound(segment), segment.localDepth <= depth else { throw damage(segment) }
            // The other entries that name it.
            index = (index &- 1 | (1 &<< (depth &- segment.localDepth) &- 1)) &+ 1
            try body(segment)
        }
    }

    /// Makes room where a hash belongs.
    @inlinable @inline(never)
    func grow(for hash: UInt64) throws(HeapError) {
        try space.checkAttached(header)
        let index = directoryIndex(hash)
        let old = entry(index)
        guard old.bits != 0 else {
            try setEntries(of: index, to: makeSegment(chunkShift: 0, localDepth: 0))
            return setSegmentCount(1)
        }
        guard isSound(old), old.localDepth <= depth else {
            throw space.damage(.dictionary, at: header, "its entry \(index) names a segment that can't be")
        }
        // Keys whose hashes are alike are not told apart by splitting: such a segment doubles beyond the usual size.
        if old.chunkShift < Self.largestShift || old.localDepth == depth && !mayDeepen {
            try double(old, at: index)
        } else {
            if old.localDepth == depth { try deepen() }
            try split(old, at: directoryIndex(hash))
        }
    }

    @inlinable
    var mayDeepen: Bool { depth < HashTableFormat.maximumDepth && 1 << depth <= 8 * segmentCount + 64 }

    @inlinable
    func setSegmentCount(_ count: Int) { space.write(count, at: header &+ HashTableFormat.segmentCount) }

    /// Puts an entry in the place of all those that name the segment at `index`.
    @inlinable
    func setEntries(of index: Int, to segment: HashTableFormat.Entry) {
        let span = 1 << (depth - segment.localDepth)
        let first = index & ~(span - 1)
        space.willWrite(directory &+ first &* 8, span &* 8)
        for entry in first..<first + span { space.writeDeclared(segment.bits, at: directory &+ entry &* 8) }
    }

    @inlinable
    func double(_ old: HashTableFormat.Entry, at index: Int) throws(HeapError) {
        let new = try makeSegment(chunkShift: old.chunkShift &+ 1, localDepth: old.localDepth)
        let seed: UInt64 = space.read(header &+ HashTableFormat.seed)
        try forEachSlot(of: old) { slot throws(HeapError) in
            carry(slot, hash: Key.persistentHash(of: space.read(slot), in: space, seed: seed), to: new)
        }
        setEntries(of: index, to: new)
        try space.free(old.offset)
    }

    @inlinable
    func split(_ old: HashTableFormat.Entry, at index: Int) throws(HeapError) {
        let localDepth = old.localDepth &+ 1
        let low = try makeSegment(chunkShift: old.chunkShift, localDepth: localDepth)
        let high: HashTableFormat.Entry
        do throws(HeapError) { high = try makeSegment(chunkShift: old.chunkShift, localDepth: localDepth) } catch {
            try space.free(low.offset)
            throw error
        }
        let seed: UInt64 = space.read(header &+ HashTableFormat.seed)
        try forEachSlot(of: old) { slot throws(HeapError) in
            let hash = Key.persistentHash(of: space.read(slot), in: space, seed: seed)
            carry(slot, hash: hash, to: (hash &>> UInt64(truncatingIfNeeded: 64 &- localDepth)) & 1 == 0 ? low : high)
        }
        let half = 1 &<< (depth &- localDepth)
        setEntries(of: index & ~half, to: low)
        setEntries(of: index | half, to: high)
        setSegmentCount(segmentCount &+ 1)
        try space.free(old.offset)
    }

    /// Doubles the directory.
    @inlinable
    func deepen() throws(HeapError) {
        let depth = depth
        let old = directory
        let new = try space.allocate(byteCount: 16 << depth, alignment: 8)
        space.willWrite(new, 16 << depth)
        for index in 0..<1 << depth {
            let bits = entry(index).bits
            space.writeDeclared(bits, at: new &+ index &* 16)
            space.writeDeclared(bits, at: new &+ index &* 16 &+ 8)
        }
        space.write(new, at: header &+ HashTableFormat.directory)
        space.write(UInt32(depth + 1), at: header &+ HashTableFormat.depth)
        if depth > 0 { try space.free(old) }
    }

    /// Slots in all.
    @inlinable
    var slotCount: Int {
        var count = 0
        try? forEachSegment { segment in count += segment.chunkCount * HashTableFormat.slotsPerChunk }
        return count
    }

    /// Moves all keys into a new table with room for as many as told, or as many as there are; within a change.
    @inlinable
    func rebuild(for minimum: Int) throws(HeapError) {
        try space.checkAttached(header)
        let fields = 24..<HashTableFormat.headerSize
        let old = space.copyOfBytes(header &+ fields.lowerBound, fields.count)
        // The old table stays as it is, but that the one entry of a small one moves out of the header.
        var oldEntry = entry(0).bits
        let oldDepth = depth
        let oldDirectory = directory
        do throws(HeapError) {
            try startTable(for: Swift.max(minimum, count))
            try forEachOldSegment(oldDirectory, oldDepth, &oldEntry) { segment throws(HeapError) in
                try forEachSlot(of: segment) { slot throws(HeapError) in try carry(slot) }
            }
        } catch {
            try freeTable()
            old.withUnsafeBytes { space.fillBytes(header &+ fields.lowerBound, from: $0) }
            throw error
        }
        try forEachOldSegment(oldDirectory, oldDepth, &oldEntry) { segment throws(HeapError) in try space.free(segment.offset) }
        if oldDepth > 0 { try space.free(oldDirectory) }
    }

    /// Calls `body` with each segment of a table that this one replaces.
    @inlinable
    func forEachOldSegment(
        _ directory: Int, _ depth: Int, _ onlyEntry: inout UInt64, _ body: (HashTableFormat.Entry) throws(HeapError) -> Void
    ) throws(HeapError) {
        if depth > 0 { return try forEachSegment(of: directory, depth: depth, body) }
        let segment = HashTableFormat.Entry(bits: onlyEntry)
        if segment.bits == 0 { return }
        guard isSound(segment) else { throw damage(segment) }
        try body(segment)
    }

    /// Copies a slot to where its key belongs.
    @inlinable
    func carry(_ slot: Int) throws(HeapError) {
        let seed: UInt64 = space.read(header &+ HashTableFormat.seed)
        let hash = Key.persistentHash(of: space.read(slot), in: space, seed: seed)
        while true {
            if let segment = segment(for: hash), emptySlot(in: segment, hash: hash, patience: patience(in: segment)).isFound {
                space.willWrite(segment.offset, Self.chunkStride &<< segment.chunkShift)
                return carry(slot, hash: hash, to: segment)
            }
            try grow(for: hash)
        }
    }

    /// Puts a table without keys in the place of the one there, which is forgotten.
    @inlinable
    func startTable(for minimum: Int) throws(HeapError) {
        resetTable()
        guard minimum > 0 else { return }
        guard minimum <= space.byteCount / Self.slotStride else {
            throw HeapError(.full, "A dictionary of \(minimum) keys does not fit into the heap")
        }
        let chunks = Swift.max((minimum &+ minimum / 4) / HashTableFormat.slotsPerChunk, 1)
        let shift = Int.bitWidth &- (chunks &- 1).leadingZeroBitCount
        let depth = Swift.max(0, Swift.min(shift &- Self.largestShift, HashTableFormat.maximumDepth))
        guard shift < 48, Self.chunkStride &<< shift <= space.byteCount else {
            throw HeapError(.full, "A dictionary of \(minimum) keys does not fit into the heap")
        }
        for _ in 0..<depth { try deepen() }
        for index in 0..<1 &<< depth {
            try setEntries(of: index, to: makeSegment(chunkShift: shift &- depth, localDepth: depth))
            setSegmentCount(index &+ 1)
        }
    }

    /// Makes the table one without memory.
    @inlinable
    func resetTable() {
        space.zeroBytes(header &+ HashTableFormat.depth, HashTableFormat.headerSize &- HashTableFormat.depth)
        space.write(header &+ HashTableFormat.onlyEntry, at: header &+ HashTableFormat.directory)
    }

    /// Frees the segments and the directory.
    @inlinable
    func freeTable() throws(HeapError) {
        try forEachSegment { segment throws(HeapError) in try space.free(segment.offset) }
        if depth > 0 { try space.free(directory) }
        resetTable()
    }

    /// Makes the segments empty.
    @inlinable
    func emptyTable() throws(HeapError) { try forEachSegment { segment throws(HeapError) in empty(segment) } }

    /// Releases all keys and values.
    @inlinable
    func releaseElements() throws(HeapError) {
        guard Key.ownsMemory || Value.ownsMemory else { return }
        try forEachSegment { segment throws(HeapError) in
            try forEachSlot(of: segment) { slot throws(HeapError) in
                try Key.release(space.read(slot), in: space)
                try Value.release(space.read(slot &+ Self.valueOffset), in: space)
            }
        }
    }
}
