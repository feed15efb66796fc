/// Which allocated blocks can be reached from a heap's roots.
///
/// Conservative: whatever aligned word of a reachable block is the offset of a block's first byte, or the home address of any of
/// a block's bytes, leads there. So nothing that is in use is called a leak, as long as it is reached by such words, and a
/// number that looks like a place may hide one. Made from a heap that nobody changes meanwhile.
package struct HeapReach: Sendable {
    package struct Block: Hashable, Sendable {
        /// Bytes from the heap's base.
        package var offset: Int
        package var byteCount: Int
    }

    /// Blocks that nothing leads to, ascending.
    package private(set) var leaks: [Block] = []
    package private(set) var reachableBlocks = 0
    package private(set) var reachableBytes = 0

    private let space: HeapSpace
    private let home: UInt
    /// A bit a granule: a block begins here, and was reached.
    private var marks: [UInt64]
    private var pending: [Block] = []

    package init(_ heap: PersistentHeap) {
        space = heap.space
        home = UInt(bitPattern: space.header(HeapFormat.homeOffset))
        let units = max(0, min(space.header(HeapFormat.highWaterOffset), space.geometry.unitCount))
        marks = Array(repeating: 0, count: units * HeapFormat.granulesPerUnit / 64)
        reach(UInt(bitPattern: space.header(HeapFormat.directoryOffset)))
        while let block = pending.popLast() {
            reachableBlocks += 1
            reachableBytes += block.byteCount
            for word in stride(from: block.offset, to: block.offset + block.byteCount, by: 8) {
                reach(space.base.load(fromByteOffset: word, as: UInt.self))
            }
        }
        collectLeaks()
    }

    /// Follows a word, where it leads to a block.
    private mutating func reach(_ word: UInt) {
        let first = UInt(bitPattern: space.geometry.units)
        let end = first + UInt(marks.count * 64 * HeapFormat.granuleBytes)
        if word >= first, word < end, word % UInt(HeapFormat.granuleBytes) == 0 {
            let granule = Int(word - first) >> HeapFormat.granuleShift
            if space.isAllocated(granule) { mark(granule) }
        }
        let inside = word &- home
        if inside >= first, inside < end, let granule = block(around: Int(inside - first) >> HeapFormat.granuleShift) { mark(granule) }
    }

    private mutating func mark(_ granule: Int) {
        let bit: UInt64 = 1 << UInt64(granule & 63)
        guard marks[granule >> 6] & bit == 0, let size = byteCount(granule) else { return }
        marks[granule >> 6] |= bit
        pending.append(Block(offset: space.offset(ofGranule: granule), byteCount: size))
    }

    /// The first granule of the allocated block that a granule lies in.
    private func block(around granule: Int) -> Int? {
        var unit = granule / HeapFormat.granulesPerUnit
        let code = space.table[unit]
        if code == HeapFormat.largeStart || code == HeapFormat.largeRest {
            while unit > 0, space.table[unit] == HeapFormat.largeRest { unit -= 1 }
            let first = unit * HeapFormat.granulesPerUnit
            return space.isAllocated(first) ? first : nil
        }
        let number = Int(code & HeapFormat.classMask)
        guard number > 0, number < SizeClasses.end else { return nil }
        while unit > 0, space.table[unit] & HeapFormat.continuation != 0 { unit -= 1 }
        let start = unit * HeapFormat.granulesPerUnit
        let step = SizeClasses.sizes[number] >> HeapFormat.granuleShift
        let first = start + (granule - start) / step * step
        return space.isAllocated(first) ? first : nil
    }

    private func byteCount(_ granule: Int) -> Int? { space.knownBlock(at: space.offset(ofGranule: granule)) }

    private mutating func collectLeaks() {
        for word in marks.indices {
            var bits = space.bitmap[word] & ~marks[word]
            while bits != 0 {
                let granule = word << 6 + bits.trailingZeroBitCount
                bits &= bits - 1
                guard let size = byteCount(granule) else { continue }
                leaks.append(Block(offset: space.offset(ofGranule: granule), byteCount: size))
            }
        }
    }
}
