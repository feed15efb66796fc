internal import VMTypes

/// What a heap's tables come to: how its memory is used, and where its bytes contradict themselves.
///
/// Made from a heap that nobody changes meanwhile: a past state, say.
package struct HeapAudit: Sendable {
    /// Blocks of one size.
    package struct SizeUse: Hashable, Sendable {
        /// Bytes of a block.
        package var byteCount: Int
        package var spans = 0
        /// Blocks that are allocated, and those that the spans have room for besides.
        package var blocks = 0
        package var freeBlocks = 0
    }

    /// Something that can't be as it is.
    package struct Problem: Hashable, Sendable {
        /// Bytes from the heap's base.
        package var offset: Int
        package var message: String
    }

    /// Of small blocks, the sizes that are in use, ascending.
    package var sizes: [SizeUse] = []
    /// Blocks of more than `largestSmall` bytes, and what they take.
    package var largeBlocks = 0
    package var largeBytes = 0
    /// Bytes of spans and large blocks, and of what lies free among them.
    package var usedBytes = 0
    package var freeBytes = 0
    /// Bytes that no block may use: the header and the tables.
    package var tableBytes = 0
    package var problems: [Problem] = []

    /// Blocks that are allocated.
    package var blocks: Int { sizes.reduce(largeBlocks) { $0 + $1.blocks } }
    /// Bytes of the blocks that are allocated.
    package var blockBytes: Int { sizes.reduce(largeBytes) { $0 + $1.blocks * $1.byteCount } }
    /// Of what spans and large blocks take and what lies free among them, the part that is not allocated: 0 … 1.
    package var fragmentation: Double {
        let all = usedBytes + freeBytes
        return all == 0 ? 0 : 1 - Double(blockBytes) / Double(all)
    }

    package init(_ heap: PersistentHeap) {
        var walk = UnitWalk(heap.space)
        walk.run()
        self = walk.audit
        problems += RootCheck(heap).problems
    }

    fileprivate init() {}
}

extension HeapSpace {
    /// The bytes of the allocated block that begins at an offset; nil where none does, also where the tables are damaged.
    func knownBlock(at offset: Int) -> Int? {
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

/// One pass over the unit table and the bitmap.
private struct UnitWalk {
    let space: HeapSpace
    let geometry: HeapGeometry
    var audit = HeapAudit()
    private var sizes: [Int: HeapAudit.SizeUse] = [:]

    init(_ space: HeapSpace) {
        self.space = space
        geometry = space.geometry
    }

    mutating func run() {
        audit.tableBytes = geometry.units
        let highWater = space.header(HeapFormat.highWaterOffset)
        guard (0...geometry.unitCount).contains(highWater) else {
            problem(HeapFormat.highWaterOffset, "the high-water mark is \(highWater), and there are \(geometry.unitCount) units")
            return
        }
        var unit = 0
        var lastUsed = 0
        while unit < highWater {
            let code = space.table[unit]
            switch code {
            case HeapFormat.free:
                requireNoBits(unit, 1)
                unit += 1
                audit.freeBytes += HeapFormat.unitBytes
            case HeapFormat.largeStart:
                unit = large(unit, highWater)
                lastUsed = unit
            case 1..<UInt8(SizeClasses.end):
                unit = span(unit, Int(code), highWater)
                lastUsed = unit
            default:
                problem(geometry.table + unit, "unit \(unit) is a 0x\(String(code, radix: 16)), which begins nothing")
                unit += 1
            }
        }
        // What lies behind the last block is room to grow into, not a gap.
        audit.freeBytes -= (highWater - lastUsed) * HeapFormat.unitBytes
        audit.sizes = sizes.values.sorted { $0.byteCount < $1.byteCount }
    }

    private mutating func large(_ start: Int, _ highWater: Int) -> Int {
        var end = start + 1
        while end < highWater, space.table[end] == HeapFormat.largeRest { end += 1 }
        if !space.isAllocated(start * HeapFormat.granulesPerUnit) {
            problem(offset(start), "a large block begins at unit \(start), and is not marked as allocated")
        }
        requireNoBits(start, end - start, butFirst: true)
        audit.largeBlocks += 1
        audit.largeBytes += (end - start) * HeapFormat.unitBytes
        audit.usedBytes += (end - start) * HeapFormat.unitBytes
        return end
    }

    private mutating func span(_ start: Int, _ number: Int, _ highWater: Int) -> Int {
        let units = SizeClasses.spanUnits[number]
        var end = start + 1
        while end < highWater, end < start + units, space.table[end] == UInt8(number) | HeapFormat.continuation { end += 1 }
        guard end == start + units else {
            problem(offset(start), "the span at unit \(start) has \(end - start) units of \(units)")
            return end
        }
        let size = SizeClasses.sizes[number]
        let step = size >> HeapFormat.granuleShift
        var use = sizes[size] ?? HeapAudit.SizeUse(byteCount: size)
        use.spans += 1
        var allocated = 0
        let first = start * HeapFormat.granulesPerUnit
        for word in first >> 6..<(end * HeapFormat.granulesPerUnit) >> 6 {
            var bits = space.bitmap[word]
            while bits != 0 {
                let granule = word << 6 + bits.trailingZeroBitCount
                bits &= bits - 1
                let distance = granule - first
                if distance % step == 0, distance / step < SizeClasses.spanBlocks[number] {
                    allocated += 1
                } else {
                    problem(space.offset(ofGranule: granule), "no block of \(size) bytes can begin here, and one is marked as allocated")
                }
            }
        }
        use.blocks += allocated
        use.freeBlocks += SizeClasses.spanBlocks[number] - allocated
        sizes[size] = use
        audit.usedBytes += units * HeapFormat.unitBytes
        return end
    }

    private mutating func requireNoBits(_ start: Int, _ count: Int, butFirst: Bool = false) {
        let words = HeapFormat.granulesPerUnit / 64
        for word in start * words..<(start + count) * words {
            var bits = space.bitmap[word]
            if butFirst, word == start * words { bits &= ~1 }
            if bits != 0 {
                let granule = word << 6 + bits.trailingZeroBitCount
                problem(space.offset(ofGranule: granule), "a block is marked as allocated where none can begin")
            }
        }
    }

    private func offset(_ unit: Int) -> Int { space.offset(ofGranule: unit * HeapFormat.granulesPerUnit) }

    private mutating func problem(_ offset: Int, _ message: String) {
        // Damage of a whole table would fill the memory with sentences.
        if audit.problems.count < 10_000 { audit.problems.append(HeapAudit.Problem(offset: offset, message: message)) }
    }
}

/// Whether the roots are where the heap says.
private struct RootCheck {
    var problems: [HeapAudit.Problem] = []
    private let space: HeapSpace

    init(_ heap: PersistentHeap) {
        space = heap.space
        let directory = heap.directory
        let place = space.header(HeapFormat.directoryOffset)
        guard directory.count != 0 || place != 0 else { return }
        let bytes = directory.count.multipliedReportingOverflow(by: MemoryLayout<RootDirectory.Record>.stride)
        guard directory.count >= 0, !bytes.overflow, has(place, bytes.partialValue) else {
            add(HeapFormat.directoryOffset, "the \(directory.count) roots are in no block that is long enough")
            return
        }
        var names: Set<String> = []
        for number in 0..<directory.count {
            let record = directory.record(number)
            let offset = place + number * MemoryLayout<RootDirectory.Record>.stride
            guard has(record.name, Int(record.nameBytes)), has(record.layout, Int(record.layoutBytes)) else {
                add(offset, "the name or layout of root \(number) is in no block that is long enough")
                continue
            }
            let name = directory.text(record.name, record.nameBytes)
            if !names.insert(name).inserted { add(offset, "two roots are named '\(name)'") }
            if record.kind != RootDirectory.valueKind, record.kind != RootDirectory.containerKind {
                add(offset, "the root '\(name)' is of kind \(record.kind), which there is not")
            }
            if record.value != 0 || record.kind == RootDirectory.valueKind, !has(record.value, 0) {
                add(offset, "the value of the root '\(name)' is in no allocated block")
            }
        }
    }

    /// Whether a block of that length begins there.
    private func has(_ offset: Int, _ byteCount: Int) -> Bool {
        guard let size = space.knownBlock(at: offset) else { return false }
        return byteCount <= size
    }

    private mutating func add(_ offset: Int, _ message: String) {
        problems.append(HeapAudit.Problem(offset: offset, message: message))
    }
}
