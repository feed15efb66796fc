/// Which allocated blocks can be reached from a heap's roots.
///
/// What a root's recorded layout explains is followed by that: collections, and what they hold. From other roots (references,
/// pointers, types of other languages) whatever aligned word of a reachable block is the offset of a block's first byte, or
/// the home address of any of a block's bytes, leads there: *conservatively*. So nothing that is in use is called a leak, as
/// long as it is reached by such words, and a number that looks like a place may hide one.
/// Made from a heap that nobody changes meanwhile.
package struct HeapReach {
    package struct Block: Hashable, Sendable {
        /// Bytes from the heap's base.
        package var offset: Int
        package var byteCount: Int
    }

    /// Blocks that nothing leads to, ascending.
    package private(set) var leaks: [Block] = []
    package private(set) var reachableBlocks = 0
    package private(set) var reachableBytes = 0
    /// The roots that were followed conservatively.
    package private(set) var conservativeRoots: [String] = []

    private let space: HeapSpace
    private let home: UInt
    /// A bit a granule: a block begins here, and was reached; and its words were followed, or are to be.
    private var marks: [UInt64]
    private var followed: [UInt64]
    private var pending: [Block] = []

    /// Throws `.damaged` where the roots are not where the heap says.
    package init(_ heap: PersistentHeap) throws(HeapError) {
        space = heap.space
        home = UInt(bitPattern: space.header(HeapFormat.homeOffset))
        let units = max(0, min(space.header(HeapFormat.highWaterOffset), space.geometry.unitCount))
        marks = Array(repeating: 0, count: units * HeapFormat.granulesPerUnit / 64)
        followed = marks
        let roots = try heap.rootRecords()
        if !roots.isEmpty { mark(space.header(HeapFormat.directoryOffset)) }
        for root in roots {
            for block in root.blocks { mark(block) }
            let isTyped = Self.explains(root.layout)
            if !isTyped { conservativeRoots.append(root.name) }
            var blocks = root.isContainer ? [] : [root.offset]
            // What is wrong with them is for a check to tell.
            let walk = ContainerWalk(space: space) { offset, _, _ in blocks.append(offset) } report: { _ in }
            let shape = StoredShape(layout: root.layout)
            if root.isContainer {
                walk.walk(shape, handle: ContainerHandle(offset: root.offset))
            } else {
                walk.walk(shape, at: root.offset)
            }
            for block in blocks { if isTyped { mark(block) } else { follow(block) } }
        }
        while let block = pending.popLast() {
            for word in stride(from: block.offset, to: block.offset + block.byteCount, by: 8) {
                lead(space.base.load(fromByteOffset: word, as: UInt.self))
            }
        }
        collectLeaks()
    }

    /// Whether a layout says of all its parts what they own: no part of it is a reference, or a type of another language.
    private static func explains(_ layout: String) -> Bool {
        !["Ref<", "Pointer", "ContainerHandle", "Bytes{", " bytes]"].contains { layout.contains($0) }
    }

    /// Where a word of a block that is followed leads to.
    private mutating func lead(_ word: UInt) {
        let first = UInt(bitPattern: space.geometry.units)
        let end = first + UInt(marks.count * 64 * HeapFormat.granuleBytes)
        if word >= first, word < end { follow(Int(word)) }
        let inside = word &- home
        if inside >= first, inside < end, let granule = block(around: Int(inside - first) >> HeapFormat.granuleShift) {
            follow(space.offset(ofGranule: granule))
        }
    }

    /// Marks the block that begins at an offset, and answers which it is; nil where none begins there.
    @discardableResult
    private mutating func mark(_ offset: Int) -> (granule: Int, byteCount: Int)? {
        guard let size = space.knownBlock(at: offset) else { return nil }
        let granule = (offset - space.geometry.units) >> HeapFormat.granuleShift
        guard granule >> 6 < marks.count else { return nil }
        let bit: UInt64 = 1 << UInt64(granule & 63)
        if marks[granule >> 6] & bit == 0 {
            marks[granule >> 6] |= bit
            reachableBlocks += 1
            reachableBytes += size
        }
        return (granule, size)
    }

    /// Marks the block that begins at an offset, and has its words followed.
    private mutating func follow(_ offset: Int) {
        guard let (granule, size) = mark(offset) else { return }
        let bit: UInt64 = 1 << UInt64(granule & 63)
        guard followed[granule >> 6] & bit == 0 else { return }
        followed[granule >> 6] |= bit
        pending.append(Block(offset: offset, byteCount: size))
    }

    /// The first granule of the allocated block that a granule lies in.
    private func block(around granule: Int) -> Int? {
        var unit = granule / HeapFormat.granulesPerUnit
        let code = space.table[unit]
        if code == HeapFormat.largeStart || code == HeapFormat.largeRest {
            while unit > 0, space.table[unit] == HeapFormat.largeRest { unit -= 1 }
            return unit * HeapFormat.granulesPerUnit
        }
        let number = Int(code & HeapFormat.classMask)
        guard number > 0, number < SizeClasses.end else { return nil }
        while unit > 0, space.table[unit] & HeapFormat.continuation != 0 { unit -= 1 }
        let start = unit * HeapFormat.granulesPerUnit
        let step = SizeClasses.sizes[number] >> HeapFormat.granuleShift
        return start + (granule - start) / step * step
    }

    private mutating func collectLeaks() {
        for word in marks.indices {
            var bits = space.bitmap[word] & ~marks[word]
            while bits != 0 {
                let granule = word << 6 + bits.trailingZeroBitCount
                bits &= bits - 1
                let offset = space.offset(ofGranule: granule)
                if let size = space.knownBlock(at: offset) { leaks.append(Block(offset: offset, byteCount: size)) }
            }
        }
    }
}

extension HeapSpace {
    /// The bytes of the allocated block that begins at an offset; nil where none does, also where the tables are damaged.
    package func knownBlock(at offset: Int) -> Int? {
        let distance = offset &- geometry.units
        let granule = distance >> HeapFormat.granuleShift
        guard distance >= 0, distance & (HeapFormat.granuleBytes - 1) == 0, !isClosed,
            granule < geometry.unitCount * HeapFormat.granulesPerUnit, isAllocated(granule)
        else { return nil }
        let unit = granule / HeapFormat.granulesPerUnit
        let code = table[unit]
        if code == HeapFormat.largeStart {
            return granule % HeapFormat.granulesPerUnit == 0 ? runLength(unit) * HeapFormat.unitBytes : nil
        }
        let number = Int(code & HeapFormat.classMask)
        guard number > 0, number < SizeClasses.end, offset + SizeClasses.sizes[number] <= geometry.capacity else { return nil }
        return SizeClasses.sizes[number]
    }
}
