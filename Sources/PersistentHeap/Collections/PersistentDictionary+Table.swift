/// Searching and changing slots.
///
/// Invariant: a segment is looked into only after `segment(for:)` has found it within the heap, so that no entry of a damaged
/// directory leads out of it; searches pass each chunk once at most.
extension PersistentDictionary {
    @inlinable @inline(__always)
    static func rounded(_ value: Int, to alignment: Int) -> Int { (value &+ alignment &- 1) & ~(alignment &- 1) }

    @inlinable @inline(__always) static var slotAlignment: Int {
        Swift.max(MemoryLayout<Key.Stored>.alignment, MemoryLayout<Value.Stored>.alignment)
    }
    @inlinable @inline(__always) static var valueOffset: Int {
        rounded(MemoryLayout<Key.Stored>.size, to: MemoryLayout<Value.Stored>.alignment)
    }
    @inlinable @inline(__always) static var slotStride: Int {
        Swift.max(rounded(valueOffset &+ MemoryLayout<Value.Stored>.size, to: slotAlignment), 1)
    }
    @inlinable @inline(__always) static var firstSlot: Int { rounded(16, to: slotAlignment) }
    @inlinable @inline(__always) static var chunkStride: Int {
        rounded(firstSlot &+ HashTableFormat.slotsPerChunk &* slotStride, to: Swift.max(16, slotAlignment))
    }

    @inlinable @inline(__always)
    func hash(of key: Key) -> UInt64 {
        space.expect(.dictionary, at: header)
        return key.persistentHash(seed: space.read(header &+ HashTableFormat.seed))
    }

    @inlinable @inline(__always) var depth: Int { Int(truncatingIfNeeded: space.read(header &+ HashTableFormat.depth, as: UInt32.self)) }
    @inlinable @inline(__always) var directory: Int { space.read(header &+ HashTableFormat.directory) }

    /// Where the directory's entry for a hash is.
    @inlinable @inline(__always)
    func directoryIndex(_ hash: UInt64) -> Int {
        Int(truncatingIfNeeded: (hash &>> 1) &>> UInt64(truncatingIfNeeded: 63 &- depth))
    }

    @inlinable @inline(__always)
    func entry(_ index: Int) -> HashTableFormat.Entry { HashTableFormat.Entry(bits: space.read(directory &+ index &* 8)) }

    /// The segment for a hash, or nil where there is none yet.
    @inlinable @inline(__always)
    func segment(for hash: UInt64) -> HashTableFormat.Entry? {
        let entry = entry(directoryIndex(hash))
        guard isSound(entry) else {
            if entry.bits != 0 { space.fail(damage(entry)) }
            return nil
        }
        return entry
    }

    /// Whether the entry names a segment that lies in the heap.
    @inlinable @inline(__always)
    func isSound(_ entry: HashTableFormat.Entry) -> Bool {
        let limit = space.byteCount
        return entry.bits != 0 && entry.chunkShift < 32 && entry.offset < limit
            && Self.chunkStride &<< entry.chunkShift <= limit &- entry.offset
    }

    @usableFromInline @inline(never)
    func damage(_ entry: HashTableFormat.Entry) -> HeapError {
        space.damage(
            .dictionary, at: header,
            "it names a segment of 2^\(entry.chunkShift) chunks at offset \(entry.offset), which lies outside of the heap")
    }

    /// Searches a key.
    @inlinable @inline(__always)
    func locate(_ key: Key, hash: UInt64) -> HashTableFormat.Place {
        guard let segment = segment(for: hash) else { return .none }
        let mask = segment.chunkCount &- 1
        let tag = HashTableFormat.tag(hash)
        let pattern = UInt64(tag) &* 0x0101_0101_0101_0101
        var index = Int(truncatingIfNeeded: hash &>> 7) & mask
        var passed = 0
        while true {
            let chunk = segment.offset &+ index &* Self.chunkStride
            let low: UInt64 = space.read(chunk)
            let high: UInt64 = space.read(chunk &+ 8)
            var lanes = HashTableFormat.matches(low, pattern)
            while lanes != 0 {
                let lane = lanes.trailingZeroBitCount &>> 3
                let slot = chunk &+ Self.firstSlot &+ lane &* Self.slotStride
                if key.isStored(as: space.read(slot), in: space) {
                    return HashTableFormat.Place(chunk: chunk, lane: lane, slot: slot, passed: passed)
                }
                lanes &= lanes &- 1
            }
            lanes = HashTableFormat.matches(high, pattern) & 0x0000_8080_8080_8080
            while lanes != 0 {
                let lane = 8 &+ lanes.trailingZeroBitCount &>> 3
                let slot = chunk &+ Self.firstSlot &+ lane &* Self.slotStride
                if key.isStored(as: space.read(slot), in: space) {
                    return HashTableFormat.Place(chunk: chunk, lane: lane, slot: slot, passed: passed)
                }
                lanes &= lanes &- 1
            }
            if high &>> 56 == 0 || passed == mask { return .none }
            passed &+= 1
            index = (index &+ 2 &* Int(tag) &+ 1) & mask
        }
    }

    /// How many chunks of a segment are looked through for an empty slot. One that is larger than segments are meant to be has keys
    /// of like hashes, for which growing makes no room: it is filled.
    @inlinable @inline(__always)
    func patience(in segment: HashTableFormat.Entry) -> Int {
        segment.chunkShift > Self.largestShift ? Int.max : HashTableFormat.patience
    }

    /// Searches an empty slot for a hash, through as many chunks as `patience` allows.
    @inlinable @inline(__always)
    func emptySlot(in segment: HashTableFormat.Entry, hash: UInt64, patience: Int) -> HashTableFormat.Place {
        let mask = segment.chunkCount &- 1
        let step = 2 &* Int(HashTableFormat.tag(hash)) &+ 1
        var index = Int(truncatingIfNeeded: hash &>> 7) & mask
        var passed = 0
        while true {
            let chunk = segment.offset &+ index &* Self.chunkStride
            let low = ~space.read(chunk, as: UInt64.self) & 0x8080_8080_8080_8080
            let high = ~space.read(chunk &+ 8, as: UInt64.self) & 0x0000_8080_8080_8080
            if low | high != 0 {
                let lane = low != 0 ? low.trailingZeroBitCount &>> 3 : 8 &+ high.trailingZeroBitCount &>> 3
                return HashTableFormat.Place(
                    chunk: chunk, lane: lane, slot: chunk &+ Self.firstSlot &+ lane &* Self.slotStride, passed: passed)
            }
            passed &+= 1
            if passed > mask || passed == patience { return .none }
            index = (index &+ step) & mask
        }
    }

    /// Counts a key in, or out of, the overflow of the chunks that it passed.
    @inlinable
    func countOverflow(in segment: HashTableFormat.Entry, hash: UInt64, passed: Int, by change: Int) {
        let mask = segment.chunkCount &- 1
        let step = 2 &* Int(HashTableFormat.tag(hash)) &+ 1
        var index = Int(truncatingIfNeeded: hash &>> 7) & mask
        for _ in 0..<passed {
            let place = segment.offset &+ index &* Self.chunkStride &+ HashTableFormat.overflow
            let count: UInt8 = space.read(place)
            if count != 255, change > 0 || count > 0 { space.write(UInt8(truncatingIfNeeded: Int(count) &+ change), at: place) }
            index = (index &+ step) & mask
        }
    }

    @inlinable @inline(__always)
    func value(at slot: Int) -> Value { Value.load(space.read(slot &+ Self.valueOffset), in: space) }

    @inlinable @inline(__always)
    func key(at slot: Int) -> Key { Key.load(space.read(slot), in: space) }

    /// Puts a value in the place of one; within the change that has found the slot.
    @inlinable @inline(__always)
    func replaceValue(at slot: Int, with value: Value) throws(HeapError) {
        let place = slot &+ Self.valueOffset
        if Value.ownsMemory {
            let old: Value.Stored = space.read(place)
            if Value.isSame(value, as: old, in: space) { return }
            space.write(try Value.store(value, in: space), at: place)
            try Value.release(old, in: space)
        } else {
            space.write(try Value.store(value, in: space), at: place)
        }
    }

    /// Puts a key in that is not there; within the change that has not found it.
    @inlinable
    func insertNew(_ key: Key, _ value: Value, hash: UInt64) throws(HeapError) {
        while true {
            if let segment = segment(for: hash) {
                let place = emptySlot(in: segment, hash: hash, patience: patience(in: segment))
                if place.isFound {
                    let storedKey = try Key.store(key, in: space)
                    let storedValue: Value.Stored
                    if Value.ownsMemory {
                        do throws(HeapError) { storedValue = try Value.store(value, in: space) } catch {
                            try Key.release(storedKey, in: space)
                            throw error
                        }
                    } else {
                        storedValue = try Value.store(value, in: space)
                    }
                    space.willWrite(place.slot, Self.slotStride)
                    space.writeDeclared(storedKey, at: place.slot)
                    space.writeDeclared(storedValue, at: place.slot &+ Self.valueOffset)
                    space.write(HashTableFormat.tag(hash), at: place.chunk &+ place.lane)
                    if place.passed > 0 { countOverflow(in: segment, hash: hash, passed: place.passed, by: 1) }
                    space.write(space.count(at: header) &+ 1, at: header &+ 8)
                    return
                }
            }
            try grow(for: hash)
        }
    }

    /// Takes a pair out; within the change that has found it.
    @inlinable
    func removeSlot(_ place: HashTableFormat.Place, hash: UInt64) throws(HeapError) {
        let key: Key.Stored = space.read(place.slot)
        let value: Value.Stored = space.read(place.slot &+ Self.valueOffset)
        space.write(0 as UInt8, at: place.chunk &+ place.lane)
        if place.passed > 0, let segment = segment(for: hash) {
            countOverflow(in: segment, hash: hash, passed: place.passed, by: -1)
        }
        space.write(space.count(at: header) &- 1, at: header &+ 8)
        try Key.release(key, in: space)
        try Value.release(value, in: space)
    }
}
