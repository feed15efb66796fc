internal import CPersistentHeap
internal import Glibc
internal import VMTypes

extension HeapSpace {
    /// Takes a block of at least `byteCount` bytes that begins at a multiple of `alignment`.
    ///
    /// What it holds is not defined. Blocks are 16 bytes at least; up to 32 KiB they come from spans of one size, larger ones
    /// are runs of 16 KiB.
    /// - Parameters:
    ///   - byteCount: 0 and above.
    ///   - alignment: A power of two, 1 MiB at most.
    /// - Returns: The offset of its first byte.
    /// - Throws: `.full`, `.invalid`, `.readOnly`, `.wrongState`.
    @usableFromInline package func allocate(byteCount: Int, alignment: Int = 16) throws(HeapError) -> Int {
        // 1 … 32 KiB, of an alignment that every class has.
        if UInt(bitPattern: byteCount &- 1) < UInt(SizeClasses.largest), UInt(bitPattern: alignment) <= 16,
            SizeClasses.usualAlignments &>> alignment & 1 != 0, let record = ph_first(), ph_heap(record) == number
        {
            let number = SizeClasses.number(for: byteCount)
            guard enter(record) else { return try allocateSlowly(byteCount, alignment) }
            let count = ThreadCache.counts(record) + number
            if count.pointee > 0 {
                count.pointee &-= 1
                let granule = Int(ThreadCache.stack(record, number)[Int(count.pointee)])
                setAllocated(granule, record)
                ph_leave(record)
                return offset(ofGranule: granule)
            }
            ph_leave(record)
        }
        return try allocateSlowly(byteCount, alignment)
    }

    @inline(never)
    private func allocateSlowly(_ byteCount: Int, _ alignment: Int) throws(HeapError) -> Int {
        try requireWritable()
        try Self.requireBlock(byteCount, alignment)
        guard let record = recordToChange(), enter(record) else { throw Self.closed() }
        defer { ph_leave(record) }
        guard let number = SizeClasses.number(for: max(1, byteCount), alignment: alignment) else {
            return try allocateRun(byteCount, alignment, record)
        }
        let count = ThreadCache.counts(record) + number
        if count.pointee == 0 {
            let stack = ThreadCache.stack(record, number)
            let wanted = Int(ThreadCache.capacities[number]) / 2
            let got = try withCentral { (central) throws(HeapError) in
                try central.refill(number, self, into: stack, count: wanted)
            }
            // The lowest address goes first: blocks that are made one after the other share pages.
            var blocks = UnsafeMutableBufferPointer(start: stack, count: got)
            blocks.reverse()
            count.pointee = UInt32(got)
        }
        count.pointee -= 1
        let granule = Int(ThreadCache.stack(record, number)[Int(count.pointee)])
        setAllocated(granule, record)
        return offset(ofGranule: granule)
    }

    private static func requireBlock(_ byteCount: Int, _ alignment: Int) throws(HeapError) {
        guard byteCount >= 0, alignment > 0, alignment & (alignment - 1) == 0, alignment <= 1 << 20 else {
            throw HeapError(
                .invalid, "no block has \(byteCount) bytes and an alignment of \(alignment)",
                advice: "Sizes are 0 and above, alignments powers of two up to 1 MiB")
        }
    }

    /// Gives a block back.
    ///
    /// Throws `.notAllocated` where no allocated block begins there (it was freed already, say), `.readOnly`, `.wrongState`.
    @usableFromInline package func free(_ offset: Int) throws(HeapError) {
        let distance = offset &- geometry.units
        let granule = distance >> HeapFormat.granuleShift
        if let record = ph_first(), ph_heap(record) == number, distance & (HeapFormat.granuleBytes - 1) == 0,
            UInt(bitPattern: granule) < UInt(bitPattern: geometry.unitCount &* HeapFormat.granulesPerUnit)
        {
            guard enter(record) else { throw Self.closed() }
            // Read within the change: an abandonment that was waited out forgets what was known.
            let number = Int(tables.known[granule / HeapFormat.granulesPerUnit] & HeapFormat.classMask)
            // 0: large, or of a span that was not looked at yet.
            if number != 0 {
                defer { ph_leave(record) }
                guard setFree(granule, record) else { throw Self.notAllocated(offset) }
                let count = ThreadCache.counts(record) + number
                if count.pointee == capacities[number] { makeRoom(record, number) }
                ThreadCache.stack(record, number)[Int(count.pointee)] = UInt32(truncatingIfNeeded: granule)
                count.pointee &+= 1
                return
            }
            ph_leave(record)
        }
        try freeSlowly(offset)
    }

    @inline(never)
    private func freeSlowly(_ offset: Int) throws(HeapError) {
        try requireWritable()
        guard let record = recordToChange(), enter(record) else { throw Self.closed() }
        defer { ph_leave(record) }
        let granule = try allocatedGranule(offset)
        try withCentral { (central) throws(HeapError) in
            let unit = granule / HeapFormat.granulesPerUnit
            if table[unit] == HeapFormat.largeStart {
                guard setFree(granule, record) else { throw Self.notAllocated(offset) }
                central.giveRun(unit, runLength(unit), self)
                return
            }
            let start = central.spanStart(unit, self)
            if tables.known[start] == 0 {
                guard central.isSpan(start, self) else {
                    throw HeapError(
                        .damaged, "unit \(unit) of the heap has code \(table[unit]), and is no part of a span",
                        advice: "Run `varve heap check`")
                }
                central.learn(start, self)
            }
            guard setFree(granule, record) else { throw Self.notAllocated(offset) }
            withUnsafePointer(to: UInt32(granule)) { central.giveBack(UnsafeBufferPointer(start: $0, count: 1), self) }
        }
    }

    /// Gives the older half of a full stack back to all threads.
    @inline(never)
    private func makeRoom(_ record: ThreadRecord, _ number: Int) {
        let stack = ThreadCache.stack(record, number)
        let count = ThreadCache.counts(record) + number
        let half = Int(count.pointee) / 2
        giveBack(stack, half)
        stack.update(from: stack + half, count: Int(count.pointee) - half)
        count.pointee -= UInt32(half)
    }

    private func giveBack(_ granules: UnsafeMutablePointer<UInt32>, _ count: Int) {
        withCentral { central in central.giveBack(UnsafeBufferPointer(start: granules, count: count), self) }
    }

    /// Gives all of a thread's cached blocks back: the thread ends. No byte of the heap changes, whoever excludes changes.
    /// Under the lock of all records.
    func endThread(_ record: ThreadRecord) {
        gate.remove(record)
        withCentral { central in
            for number in 1..<SizeClasses.end {
                let count = Int(ThreadCache.counts(record)[number])
                let blocks = UnsafeBufferPointer(start: UnsafePointer(ThreadCache.stack(record, number)), count: count)
                central.giveBack(blocks, self, releasesSpans: false)
            }
        }
    }

    /// Forgets every cache and all that was derived from the heap's bytes: they were put back to what a commit left. Only for
    /// a thread that excludes changes.
    func forgetBlocks() {
        ThreadRecords.withLock {
            for record in gate.records(of: number) where !Mutant.isPlanted(.cachesNotForgotten) {
                ThreadCache.counts(record).update(repeating: 0, count: SizeClasses.end)
            }
        }
        if !Mutant.isPlanted(.spansNotForgotten) { withCentral { central in central.reset() } }
    }

    /// The bytes that the block at an offset has: what was asked for, or somewhat more. Throws `.notAllocated`.
    package func usableSize(_ offset: Int) throws(HeapError) -> Int {
        let granule = try allocatedGranule(offset)
        let unit = granule / HeapFormat.granulesPerUnit
        let code = table[unit]
        if code == HeapFormat.largeStart { return runLength(unit) * HeapFormat.unitBytes }
        let number = Int(code & HeapFormat.classMask)
        guard number > 0, number < SizeClasses.end, offset + SizeClasses.sizes[number] <= geometry.capacity else {
            throw HeapError(.damaged, "unit \(unit) of the heap has code \(code), which there is not", advice: "Run `varve heap check`")
        }
        return SizeClasses.sizes[number]
    }

    /// Makes a block larger or smaller, where it is if that can be, else elsewhere: then what it held is copied.
    ///
    /// - Returns: The offset of the block from now on; the old one is free where it differs.
    /// - Throws: As `allocate` and `free`; the block is as it was then.
    package func reallocate(_ offset: Int, byteCount: Int, alignment: Int = 16) throws(HeapError) -> Int {
        try requireWritable()
        beginChange()
        defer { endChange() }
        let old = try usableSize(offset)
        try Self.requireBlock(byteCount, alignment)
        guard byteCount <= geometry.capacity else { throw tooLarge(byteCount) }
        let isAligned = offset % alignment == 0
        if isAligned, byteCount <= old, old <= SizeClasses.largest {
            let number = SizeClasses.number(for: max(1, byteCount), alignment: alignment)
            if let number, SizeClasses.sizes[number] == old { return offset }
        }
        if isAligned, old > SizeClasses.largest, byteCount > SizeClasses.largest, try resizeRun(offset, to: byteCount) {
            return offset
        }
        let new = try allocate(byteCount: byteCount, alignment: alignment)
        let kept = min(old, byteCount)
        if kept > 0 { memcpy(mutableBytes(new, kept).baseAddress!, base + offset, kept) }
        try free(offset)
        return new
    }

    // MARK: Large blocks

    private func allocateRun(_ byteCount: Int, _ alignment: Int, _ record: ThreadRecord) throws(HeapError) -> Int {
        guard byteCount <= geometry.capacity else { throw tooLarge(byteCount) }
        let units = max(1, (byteCount + HeapFormat.unitBytes - 1) >> HeapFormat.unitShift)
        let start = try withCentral { (central) throws(HeapError) in
            let start = try central.takeRun(units, self, alignment: max(1, alignment >> HeapFormat.unitShift))
            setUnits(start, units, first: HeapFormat.largeStart, rest: HeapFormat.largeRest)
            setAllocated(start * HeapFormat.granulesPerUnit, record)
            return start
        }
        return offset(ofGranule: start * HeapFormat.granulesPerUnit)
    }

    private func tooLarge(_ byteCount: Int) -> HeapError {
        HeapError(.full, "a block of \(byteCount) bytes is larger than the heap of \(geometry.capacity) bytes")
    }

    /// Changes a run's length in place; false where what lies behind it is not free.
    private func resizeRun(_ offset: Int, to byteCount: Int) throws(HeapError) -> Bool {
        let start = (offset - geometry.units) >> HeapFormat.unitShift
        let wanted = (byteCount + HeapFormat.unitBytes - 1) >> HeapFormat.unitShift
        return try withCentral { (central) throws(HeapError) in
            let length = runLength(start)
            if wanted < length { central.giveRun(start + wanted, length - wanted, self) }
            if wanted > length {
                guard wanted <= geometry.unitCount, try central.extendRun(at: start + length, by: wanted - length, self) else {
                    return false
                }
                setUnits(start + length, wanted - length, first: HeapFormat.largeRest, rest: HeapFormat.largeRest)
            }
            return true
        }
    }

    /// Units of the run that begins at one.
    func runLength(_ start: Int) -> Int {
        var end = start + 1
        while end < geometry.unitCount, table[end] == HeapFormat.largeRest { end += 1 }
        return end - start
    }

    // MARK: The bitmap

    func offset(ofGranule granule: Int) -> Int { geometry.units + granule << HeapFormat.granuleShift }

    func isAllocated(_ granule: Int) -> Bool { bitmap[granule >> 6] & (1 << UInt64(granule & 63)) != 0 }

    /// The granule at which an allocated block begins; throws `.notAllocated` where none does.
    func allocatedGranule(_ offset: Int) throws(HeapError) -> Int {
        let distance = offset &- geometry.units
        let granule = distance >> HeapFormat.granuleShift
        guard distance >= 0, distance & (HeapFormat.granuleBytes - 1) == 0, !isClosed,
            granule < geometry.unitCount * HeapFormat.granulesPerUnit, isAllocated(granule)
        else {
            if isClosed { throw Self.closed() }
            throw Self.notAllocated(offset)
        }
        return granule
    }

    @inline(__always)
    private func setAllocated(_ granule: Int, _ record: ThreadRecord) {
        if !Mutant.isPlanted(.bitUndeclared) { willWrite(geometry.bitmap &+ (granule >> 6) &* 8, 8) }
        let bit: UInt64 = 1 << UInt64(granule & 63)
        ph_begin_mark(record)
        if bounds.pointee.isShared { _ = ph_fetch_or(bitmap + (granule >> 6), bit) } else { bitmap[granule >> 6] |= bit }
        ph_end_mark(record)
    }

    /// False where the bit was not set.
    @inline(__always)
    private func setFree(_ granule: Int, _ record: ThreadRecord) -> Bool {
        let bit: UInt64 = 1 << UInt64(granule & 63)
        let word = bitmap + (granule >> 6)
        guard word.pointee & bit != 0 else { return false }
        willWrite(geometry.bitmap &+ (granule >> 6) &* 8, 8)
        ph_begin_mark(record)
        defer { ph_end_mark(record) }
        if bounds.pointee.isShared { return ph_fetch_clear(word, bit) & bit != 0 }
        word.pointee &= ~bit
        return true
    }

    static func closed() -> HeapError { HeapError(.wrongState, "the heap was closed", advice: "Open it again") }

    static func notAllocated(_ offset: Int) -> HeapError {
        HeapError(
            .notAllocated, "no allocated block begins at offset \(offset)",
            advice: "It was freed already, or is not what `allocate` returned")
    }
}
