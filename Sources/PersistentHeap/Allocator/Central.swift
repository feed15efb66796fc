internal import CPersistentHeap
internal import Glibc

/// Spans and runs: which units are what, and which blocks of spans are neither allocated nor in a thread's cache.
///
/// Everything here is found again from the unit table and the bitmap, so that nothing of it is part of a commit. A span is
/// *known* once its bits were copied to `taken`; from then on its blocks are handed out by `taken`.
/// Guarded by the space's central lock.
struct Central {
    private struct ClassState {
        /// First units of known spans with free blocks.
        var partial: [UInt32] = []
        /// Spans that begin below it are known; only those that were there when the heap was opened may be unknown.
        var cursor = 0
    }

    private var classes = [ClassState](repeating: ClassState(), count: SizeClasses.end)
    private var runs: RunIndex
    /// Units that were in use when the index was made.
    private var inherited = 0
    private var isPrepared = false
    private let tables: VolatileTables

    init(_ tables: VolatileTables) {
        self.tables = tables
        runs = RunIndex(nodes: tables.runs)
    }

    /// Forgets everything: the heap's bytes were put back to what a commit left.
    mutating func reset() {
        guard isPrepared else { return }
        isPrepared = false
        for number in classes.indices {
            classes[number].partial.removeAll(keepingCapacity: true)
            classes[number].cursor = 0
        }
        tables.known.update(repeating: 0, count: runs.end)
    }

    private mutating func prepare(_ space: HeapSpace) {
        guard !isPrepared else { return }
        isPrepared = true
        runs.rebuild(table: space.table, end: max(0, min(space.header(HeapFormat.highWaterOffset), space.geometry.unitCount)))
        inherited = runs.end
    }

    // MARK: Small blocks

    /// Takes up to `count` free blocks of a class, as granules, in the order of their addresses as far as they lie in one
    /// span. At least one; throws `.full`.
    mutating func refill(_ number: Int, _ space: HeapSpace, into buffer: UnsafeMutablePointer<UInt32>, count: Int)
        throws(HeapError) -> Int
    {
        prepare(space)
        let step = SizeClasses.sizes[number] >> HeapFormat.granuleShift
        let blocks = SizeClasses.spanBlocks[number]
        var taken = 0
        while taken < count {
            guard let unit = classes[number].partial.last else {
                if taken > 0 { break }
                try findSpan(number, space)
                continue
            }
            let start = Int(unit)
            let note = tables.notes + start
            let first = start * HeapFormat.granulesPerUnit
            var block = Int(note.pointee.scan)
            var left = Int(note.pointee.free)
            while left > 0, taken < count, block < blocks {
                let granule = first + block * step
                let bit: UInt64 = 1 << UInt64(granule & 63)
                if tables.taken[granule >> 6] & bit == 0 {
                    tables.taken[granule >> 6] |= bit
                    buffer[taken] = UInt32(granule)
                    taken += 1
                    left -= 1
                }
                block += 1
            }
            // Bits that are no block's were counted with the blocks: there are no more than were found.
            if block == blocks { left = 0 }
            note.pointee.free = UInt16(left)
            note.pointee.scan = UInt16(block)
            if left == 0 { unlist(start, number) }
        }
        return taken
    }

    /// Makes one more span with free blocks known: one that is there, or a new one.
    private mutating func findSpan(_ number: Int, _ space: HeapSpace) throws(HeapError) {
        while classes[number].cursor < inherited {
            let cursor = classes[number].cursor
            guard let found = memchr(space.table + cursor, Int32(number), inherited - cursor) else {
                classes[number].cursor = inherited
                break
            }
            let unit = UnsafePointer(found.assumingMemoryBound(to: UInt8.self)) - UnsafePointer(space.table)
            classes[number].cursor = unit + 1
            // What is no span is passed over: a check tells of it.
            if tables.known[unit] == 0, isSpan(unit, space) { learn(unit, space) }
            if !classes[number].partial.isEmpty { return }
        }
        let units = SizeClasses.spanUnits[number]
        let start = try takeRun(units, space)
        space.setUnits(start, units, first: UInt8(number), rest: UInt8(number) | HeapFormat.continuation)
        learn(start, space)
    }

    /// Whether the unit table, which may be damaged, has a whole span that begins at a unit.
    func isSpan(_ start: Int, _ space: HeapSpace) -> Bool {
        let code = space.table[start]
        guard code > 0, Int(code) < SizeClasses.end else { return false }
        let end = start + SizeClasses.spanUnits[Int(code)]
        guard end <= space.geometry.unitCount else { return false }
        return (start + 1..<end).allSatisfy { space.table[$0] == code | HeapFormat.continuation }
    }

    /// Copies a span's bits, which makes it known. It is a span.
    mutating func learn(_ start: Int, _ space: HeapSpace) {
        // What is known is forgotten up to the end that the index of runs knows.
        prepare(space)
        let number = Int(space.table[start])
        let units = SizeClasses.spanUnits[number]
        let words = HeapFormat.granulesPerUnit / 64
        var allocated = 0
        for word in start * words..<(start + units) * words {
            let bits = space.bitmap[word]
            tables.taken[word] = bits
            allocated += bits.nonzeroBitCount
        }
        let free = max(0, SizeClasses.spanBlocks[number] - allocated)
        tables.notes[start] = SpanNote(free: UInt16(free), scan: 0, position: 0)
        if free > 0 { list(start, number) }
        // Last: whoever finds the span known frees blocks of it without the lock.
        ph_release_fence()
        tables.known.advanced(by: start).update(repeating: UInt8(number) | HeapFormat.continuation, count: units)
    }

    /// The first unit of the span that a unit belongs to.
    func spanStart(_ unit: Int, _ space: HeapSpace) -> Int {
        var start = unit
        while start > 0, space.table[start] & HeapFormat.continuation != 0 { start -= 1 }
        return start
    }

    /// Takes blocks out of a cache, so that whoever needs one gets them. A span without any other block becomes free units.
    mutating func giveBack(_ granules: UnsafeBufferPointer<UInt32>, _ space: HeapSpace, releasesSpans: Bool = true) {
        for granule in granules {
            let granule = Int(granule)
            let start = spanStart(granule / HeapFormat.granulesPerUnit, space)
            let number = Int(space.table[start])
            // While a thread puts the heap's bytes back, another that ends may find anything here: all is forgotten then.
            guard number > 0, number < SizeClasses.end, tables.known[start] != 0,
                Int(tables.notes[start].free) < SizeClasses.spanBlocks[number]
            else { continue }
            tables.taken[granule >> 6] &= ~(1 << UInt64(granule & 63))
            let step = SizeClasses.sizes[number] >> HeapFormat.granuleShift
            let block = (granule - start * HeapFormat.granulesPerUnit) / step
            let note = tables.notes + start
            note.pointee.free += 1
            note.pointee.scan = min(note.pointee.scan, UInt16(block))
            if note.pointee.position == 0 { list(start, number) }
            // One empty span of a class stays: the next block may be wanted soon.
            if releasesSpans, Int(note.pointee.free) == SizeClasses.spanBlocks[number], classes[number].partial.count > 1 {
                release(start, number, space)
            }
        }
    }

    private mutating func release(_ start: Int, _ number: Int, _ space: HeapSpace) {
        let units = SizeClasses.spanUnits[number]
        if tables.notes[start].position != 0 { unlist(start, number) }
        tables.known.advanced(by: start).update(repeating: 0, count: units)
        space.setUnits(start, units, first: HeapFormat.free, rest: HeapFormat.free)
        runs.give(start, units)
    }

    private mutating func list(_ start: Int, _ number: Int) {
        classes[number].partial.append(UInt32(start))
        tables.notes[start].position = UInt32(classes[number].partial.count)
    }

    private mutating func unlist(_ start: Int, _ number: Int) {
        let index = Int(tables.notes[start].position) - 1
        let last = classes[number].partial.removeLast()
        if Int(last) != start {
            classes[number].partial[index] = last
            tables.notes[Int(last)].position = UInt32(index + 1)
        }
        tables.notes[start].position = 0
    }

    // MARK: Runs

    /// Takes a run of units, aligned within the heap; what is above the high-water mark comes last.
    mutating func takeRun(_ count: Int, _ space: HeapSpace, alignment: Int = 1) throws(HeapError) -> Int {
        prepare(space)
        let limit = space.geometry.unitCount
        let offset = space.geometry.units / HeapFormat.unitBytes
        var start = runs.take(count, limit: limit, alignment: alignment, offset: offset)
        if start == nil, releaseEmptySpans(space) {
            start = runs.take(count, limit: limit, alignment: alignment, offset: offset)
        }
        guard let start else {
            throw HeapError(
                .full, "the heap of \(space.geometry.capacity) bytes has no \(count * HeapFormat.unitBytes) bytes in a row left",
                advice: "Free what is not needed, or make a heap of a larger capacity")
        }
        try requireFree(start, count, space)
        raiseHighWater(space)
        return start
    }

    /// Refuses units that are in use above the high-water mark, which is damaged then; the run stays taken.
    private func requireFree(_ start: Int, _ count: Int, _ space: HeapSpace) throws(HeapError) {
        guard let unit = (start..<start + count).first(where: { space.table[$0] != HeapFormat.free }) else { return }
        throw HeapError(
            .damaged, "unit \(unit) of the heap is in use, and the header's high-water mark says that it never was",
            advice: "Run `varve heap check`")
    }

    /// Takes the units behind a run too, where they are free.
    mutating func extendRun(at end: Int, by count: Int, _ space: HeapSpace) throws(HeapError) -> Bool {
        prepare(space)
        guard runs.take(at: end, count, limit: space.geometry.unitCount) else { return false }
        try requireFree(end, count, space)
        raiseHighWater(space)
        return true
    }

    mutating func giveRun(_ start: Int, _ count: Int, _ space: HeapSpace) {
        prepare(space)
        space.setUnits(start, count, first: HeapFormat.free, rest: HeapFormat.free)
        runs.give(start, count)
    }

    private func raiseHighWater(_ space: HeapSpace) {
        guard runs.end > space.header(HeapFormat.highWaterOffset) else { return }
        let raised = HeapGeometry.round(runs.end, to: HeapFormat.highWaterStep)
        space.setHeader(HeapFormat.highWaterOffset, min(raised, space.geometry.unitCount))
    }

    /// Makes free units of every span without a block; false where there is none.
    private mutating func releaseEmptySpans(_ space: HeapSpace) -> Bool {
        var isFound = false
        var unit = 0
        while unit < runs.end {
            let number = Int(space.table[unit])
            guard isSpan(unit, space) else {
                unit += 1
                continue
            }
            if tables.known[unit] == 0 { learn(unit, space) }
            let units = SizeClasses.spanUnits[number]
            if Int(tables.notes[unit].free) == SizeClasses.spanBlocks[number] {
                release(unit, number, space)
                isFound = true
            }
            unit += units
        }
        return isFound
    }

    /// The runs of free units, and where they end, as the index has them; nil where none was made yet.
    var freeRuns: (runs: [Range<Int>], end: Int)? { isPrepared ? (runs.freeRuns, runs.end) : nil }
}
