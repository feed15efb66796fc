extension ContainerWalk {
    /// How the slots of a dictionary lie, as its header says.
    private struct Table {
        let header: Int
        let depth: Int
        let directory: Int
        let slotStride: Int
        let valueOffset: Int
        let firstSlot: Int
        let chunkStride: Int
        let seed: UInt64
    }

    func walkDictionary(_ header: Int, _ key: StoredShape, _ value: StoredShape) {
        guard isHeader(.dictionary, header, byteCount: HashTableFormat.headerSize) else { return }
        let depth = Int(space.read(header + HashTableFormat.depth, as: UInt32.self))
        let directory: Int = space.read(header + HashTableFormat.directory)
        let slotStride = Int(space.read(header + HashTableFormat.slotStride, as: UInt32.self))
        let slots = HashTableFormat.slotsPerChunk * slotStride
        let valueOffset = Int(space.read(header + HashTableFormat.valueOffset, as: UInt32.self))
        guard depth <= HashTableFormat.maximumDepth, slotStride > 0, slotStride < 1 << 31, valueOffset <= slotStride,
            depth == 0 ? directory == header + HashTableFormat.onlyEntry : space.holds(directory, 8 << depth, alignment: 8)
        else { return found(.dictionary, header, "a directory of 2^\(depth) entries at offset \(directory), slots of \(slotStride) bytes") }
        if depth > 0 { visited(directory, 8 << depth, "directory of a dictionary") }
        let table = Table(
            header: header, depth: depth, directory: directory, slotStride: slotStride,
            valueOffset: valueOffset, firstSlot: 16,
            chunkStride: (16 + slots + 15) & ~15, seed: space.read(header + HashTableFormat.seed))
        var index = 0
        var segments = 0
        var count = 0
        while index < 1 << depth {
            let entry = HashTableFormat.Entry(bits: space.read(directory + index * 8))
            index += 1
            if entry.bits == 0 { continue }
            guard entry.localDepth <= depth, entry.chunkShift < 32,
                space.holds(entry.offset, table.chunkStride << entry.chunkShift, alignment: 16)
            else {
                found(.dictionary, header, "entry \(index - 1) names 2^\(entry.chunkShift) chunks at offset \(entry.offset)")
                continue
            }
            segments += 1
            let span = 1 << (depth - entry.localDepth)
            let first = index - 1
            if first % span != 0 { found(.dictionary, header, "the segment of entry \(first) has a local depth of \(entry.localDepth)") }
            while index < Swift.min(first + span, 1 << depth) {
                if space.read(directory + index * 8, as: UInt64.self) != entry.bits {
                    found(.dictionary, header, "entries \(first) and \(index) should name the same segment")
                }
                index += 1
            }
            visited(entry.offset, table.chunkStride << entry.chunkShift, "segment of a dictionary")
            count += walkSegment(entry, first / span, table, key, value)
        }
        let expected = space.count(at: header)
        if count != expected { found(.dictionary, header, "it says \(expected) keys, and has \(count)") }
        let expectedSegments: Int = space.read(header + HashTableFormat.segmentCount)
        if segments != expectedSegments { found(.dictionary, header, "it says \(expectedSegments) segments, and has \(segments)") }
    }

    /// How many keys a segment has. `prefix` is what the highest bits of their hashes are.
    private func walkSegment(
        _ segment: HashTableFormat.Entry, _ prefix: Int, _ table: Table, _ key: StoredShape, _ value: StoredShape
    ) -> Int {
        let stored = StoredKey(key, room: table.valueOffset, in: space)
        let mask = segment.chunkCount - 1
        var count = 0
        /// How many keys passed each chunk.
        var passed = [Int](repeating: 0, count: segment.chunkCount)
        for index in 0..<segment.chunkCount {
            let chunk = segment.offset + index * table.chunkStride
            for lane in 0..<HashTableFormat.slotsPerChunk {
                let tag: UInt8 = space.read(chunk + lane)
                if tag == 0 { continue }
                count += 1
                let slot = chunk + table.firstSlot + lane * table.slotStride
                if tag & 0x80 == 0 { found(.dictionary, table.header, "the tag of the slot at offset \(slot) is \(tag)") }
                walk(key, at: slot)
                walk(value, at: slot + table.valueOffset)
                guard let hash = stored?.hash(at: slot, seed: table.seed) else { continue }
                let isPrefix = segment.localDepth == 0 || Int(hash >> UInt64(64 - segment.localDepth)) == prefix
                var at = Int(truncatingIfNeeded: hash >> 7) & mask
                var steps = 0
                while at != index, steps < mask {
                    passed[at] += 1
                    at = (at + 2 * Int(HashTableFormat.tag(hash)) + 1) & mask
                    steps += 1
                }
                if !isPrefix || HashTableFormat.tag(hash) != tag || at != index {
                    found(.dictionary, table.header, "the key in the slot at offset \(slot) does not belong there")
                }
            }
        }
        if stored != nil {
            for index in passed.indices {
                let overflow = Int(space.read(segment.offset + index * table.chunkStride + HashTableFormat.overflow, as: UInt8.self))
                if overflow != 255, overflow != passed[index] {
                    found(.dictionary, table.header, "chunk \(index) at offset \(segment.offset) was passed by \(passed[index]) keys, and counts \(overflow)")
                }
            }
        }
        return count
    }
}
