/// Compares a heap's structures with each other; believes none of them.
///
/// Only while nobody changes the heap.
struct HeapChecker {
    var report = HeapReport()
    private let space: HeapSpace
    private let geometry: HeapGeometry
    /// Units that were ever used, as far as the header can be believed.
    private let end: Int
    private var freeUnits: [Range<Int>] = []

    init(_ space: HeapSpace) {
        self.space = space
        geometry = space.geometry
        end = max(0, min(geometry.unitCount, space.header(HeapFormat.highWaterOffset)))
        report.statistics.capacity = geometry.capacity
        report.statistics.usableCapacity = geometry.unitCount * HeapFormat.unitBytes
    }

    mutating func checkHeader() {
        let mark = space.header(HeapFormat.highWaterOffset)
        if mark < 0 || mark > geometry.unitCount || (mark % HeapFormat.highWaterStep != 0 && mark != geometry.unitCount) {
            report.note("the header's high-water mark is \(mark), of \(geometry.unitCount) units")
        }
        if space.header(HeapFormat.rootCountOffset) < 0 { report.note("the header counts \(space.header(HeapFormat.rootCountOffset)) roots") }
    }

    // MARK: Units and blocks

    mutating func checkUnits() {
        var classes: [Int: HeapStatistics.SizeClass] = [:]
        var unit = 0
        var lastUsed = 0
        while unit < end {
            let code = space.table[unit]
            var length = 1
            if code == HeapFormat.free {
                while unit + length < end, space.table[unit + length] == HeapFormat.free { length += 1 }
                freeUnits.append(unit..<unit + length)
                checkBits(unit, length, step: 0, blocks: 0, "free units")
            } else if code == HeapFormat.largeStart {
                length = min(space.runLength(unit), end - unit)
                checkBits(unit, length, step: 0, blocks: 1, "the large block at unit \(unit)")
                if !space.isAllocated(unit * HeapFormat.granulesPerUnit) { report.note("the large block at unit \(unit) is not allocated") }
                report.statistics.largeBlocks += 1
                report.statistics.largeBytes += length * HeapFormat.unitBytes
            } else if Int(code) < SizeClasses.end {
                length = checkSpan(unit, Int(code), &classes)
            } else {
                report.note("unit \(unit) has code \(code), which nothing leads to")
            }
            unit += length
            if code != HeapFormat.free { lastUsed = unit }
        }
        if let last = freeUnits.last, last.upperBound == end, last.lowerBound == lastUsed { freeUnits.removeLast() }
        report.statistics.classes = classes.values.sorted { $0.blockBytes < $1.blockBytes }
        report.statistics.extent = lastUsed * HeapFormat.unitBytes
        report.statistics.freeRuns = freeUnits.count
        report.statistics.freeRunBytes = freeUnits.reduce(0) { $0 + $1.count } * HeapFormat.unitBytes
        report.statistics.longestFreeRun = (freeUnits.map(\.count).max() ?? 0) * HeapFormat.unitBytes
    }

    /// Units of the span.
    private mutating func checkSpan(_ start: Int, _ number: Int, _ classes: inout [Int: HeapStatistics.SizeClass]) -> Int {
        let units = SizeClasses.spanUnits[number]
        let size = SizeClasses.sizes[number]
        guard start + units <= end else {
            report.note("the span of \(size)-byte blocks at unit \(start) passes the high-water mark")
            return end - start
        }
        for unit in start + 1..<start + units where space.table[unit] != UInt8(number) | HeapFormat.continuation {
            report.note("unit \(unit) has code \(space.table[unit]) within the span of \(size)-byte blocks at unit \(start)")
            return unit - start
        }
        let blocks = SizeClasses.spanBlocks[number]
        let allocated = checkBits(
            start, units, step: size >> HeapFormat.granuleShift, blocks: blocks, "the span of \(size)-byte blocks at unit \(start)")
        var known = classes[number] ?? .init(blockBytes: size, spanBytes: 0, allocatedBlocks: 0, freeBlocks: 0)
        known.spanBytes += units * HeapFormat.unitBytes
        known.allocatedBlocks += allocated
        known.freeBlocks += blocks - allocated
        classes[number] = known
        return units
    }

    /// Counts the bits of a run of units; each must be that of a block: one of `blocks`, `step` granules apart.
    @discardableResult
    private mutating func checkBits(_ start: Int, _ units: Int, step: Int, blocks: Int, _ what: @autoclosure () -> String) -> Int {
        let words = HeapFormat.granulesPerUnit / 64
        var count = 0
        for word in start * words..<(start + units) * words {
            var bits = space.bitmap[word]
            while bits != 0 {
                let granule = word * 64 + bits.trailingZeroBitCount - start * HeapFormat.granulesPerUnit
                bits &= bits - 1
                count += 1
                let block = step == 0 ? granule : granule / step
                if block >= blocks || (step > 0 && granule % step != 0) {
                    report.note("granule \(granule) of \(what()) is marked as a block's beginning")
                }
            }
        }
        return count
    }

    // MARK: What this process keeps

    /// Also a thread that excludes changes keeps no other from ending, which gives its cache back.
    mutating func checkCaches() { ThreadRecords.withLock { checkCachesLocked() } }

    private mutating func checkCachesLocked() {
        // Blocks in caches are taken, and not allocated; none is in two places.
        var cached: Set<UInt32> = []
        for record in space.gate.records(of: space.number) {
            for number in 1..<SizeClasses.end {
                let stack = ThreadCache.stack(record, number)
                for index in 0..<Int(ThreadCache.counts(record)[number]) {
                    let granule = Int(stack[index])
                    if !cached.insert(stack[index]).inserted { report.note("granule \(granule) is in the caches twice") }
                    if space.isAllocated(granule) { report.note("granule \(granule) is allocated, and in a cache") }
                    if !space.isTaken(granule) { report.note("granule \(granule) is in a cache, and free for others") }
                    let unit = granule / HeapFormat.granulesPerUnit
                    if Int(space.table[unit] & HeapFormat.classMask) != number {
                        report.note("granule \(granule) of unit \(unit), with code \(space.table[unit]), is in the cache of class \(number)")
                    }
                }
            }
        }
        for unit in 0..<end where space.tables.known[unit] != 0 {
            if space.tables.known[unit] & HeapFormat.classMask != space.table[unit] & HeapFormat.classMask {
                report.note("unit \(unit) has code \(space.table[unit]), and is known as \(space.tables.known[unit])")
                continue
            }
            let number = Int(space.table[unit])
            guard number > 0, number < SizeClasses.end else { continue }
            checkNote(unit, number, &cached)
        }
        if !cached.isEmpty { report.note("\(cached.count) cached blocks lie in spans that are not known") }
        checkFreeRuns()
    }

    /// A known span's notes: what is neither allocated nor cached is free.
    private mutating func checkNote(_ start: Int, _ number: Int, _ cached: inout Set<UInt32>) {
        let step = SizeClasses.sizes[number] >> HeapFormat.granuleShift
        var free = 0
        for block in 0..<SizeClasses.spanBlocks[number] {
            let granule = start * HeapFormat.granulesPerUnit + block * step
            let isCached = cached.remove(UInt32(granule)) != nil
            let isTaken = space.isAllocated(granule) || isCached
            if isTaken != space.isTaken(granule) {
                report.note("granule \(granule) of unit \(start) is \(isTaken ? "" : "not ")in use, and is noted otherwise")
            }
            if !isTaken { free += 1 }
        }
        if free != Int(space.tables.notes[start].free) {
            report.note("the span at unit \(start) has \(free) free blocks, and \(space.tables.notes[start].free) are noted")
        }
    }

    private mutating func checkFreeRuns() {
        guard let indexed = space.indexedFreeRuns() else { return }
        let ofTable = freeUnits.filter { $0.lowerBound < indexed.end }
        let ofIndex = indexed.runs.sorted { $0.lowerBound < $1.lowerBound }
        if ofTable != ofIndex { report.note("the free runs are \(ofTable), and the index has \(ofIndex)") }
    }

    // MARK: Roots

    mutating func checkRoots(_ directory: RootDirectory) {
        let count = directory.count
        let block = space.header(HeapFormat.directoryOffset)
        guard count > 0 else { return }
        guard let bytes = try? space.usableSize(block), count <= bytes / MemoryLayout<RootDirectory.Record>.stride else {
            report.note("the directory of \(count) roots at offset \(block) is no block of that size")
            return
        }
        var blocks: Set<Int> = [block]
        var names: Set<String> = []
        for number in 0..<count {
            let record = directory.record(number)
            for (offset, bytes, what) in [
                (record.name, Int(record.nameBytes), "name"), (record.layout, Int(record.layoutBytes), "layout"),
                (record.value, 0, "value"),
            ] {
                guard let usable = try? space.usableSize(offset), usable >= bytes else {
                    report.note("the \(what) of root \(number), at offset \(offset), is no allocated block of \(bytes) bytes")
                    continue
                }
                if !blocks.insert(offset).inserted { report.note("the \(what) of root \(number) shares its block, at offset \(offset)") }
                if what == "name", !names.insert(directory.text(offset, record.nameBytes)).inserted {
                    report.note("two roots are named '\(directory.text(offset, record.nameBytes))'")
                }
            }
            if record.kind != RootDirectory.valueKind, record.kind != RootDirectory.containerKind {
                report.note("root \(number) is of kind \(record.kind)")
            }
        }
    }
}

extension HeapSpace {
    /// Whether a block is allocated or in a cache, as far as its span is known.
    func isTaken(_ granule: Int) -> Bool { tables.taken[granule >> 6] & (1 << UInt64(granule & 63)) != 0 }

    /// The free runs as the index has them; nil where none was made yet.
    func indexedFreeRuns() -> (runs: [Range<Int>], end: Int)? { withCentral { central in central.freeRuns } }
}
