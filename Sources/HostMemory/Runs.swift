internal import VMTypes

extension [PageRange] {
    /// Adds a run, joined to the last one where they touch.
    mutating func appendRun(start: Int, end: Int) {
        guard start < end else { return }
        if let last = indices.last, self[last].end == start {
            self[last].count += end - start
        } else {
            append(PageRange(start: start, count: end - start))
        }
    }
}

extension [PageRange] {
    /// The index of the first run that ends after `page`, where the runs are in order.
    private func firstIndex(endingAfter page: Int) -> Int {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle].end <= page { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The parts of `range` that no run has; the runs are in order.
    func missing(in range: PageRange) -> [PageRange] {
        var result: [PageRange] = []
        var next = range.start
        var index = firstIndex(endingAfter: range.start)
        while index < count, self[index].start < range.end {
            result.appendRun(start: next, end: self[index].start)
            next = self[index].end
            index += 1
        }
        result.appendRun(start: next, end: range.end)
        return result
    }

    /// The parts of runs that lie in `range`; the runs are in order.
    func overlapping(_ range: PageRange) -> [PageRange] {
        var result: [PageRange] = []
        var index = firstIndex(endingAfter: range.start)
        while index < count, self[index].start < range.end {
            result.append(self[index].intersection(range))
            index += 1
        }
        return result
    }

    /// Adds a run to runs that are in order and don't touch, so that they stay so.
    mutating func insertRun(_ run: PageRange) {
        guard run.count > 0 else { return }
        let first = firstIndex(endingAfter: run.start - 1)
        var last = first
        while last < count, self[last].start <= run.end { last += 1 }
        var joined = run
        if first < last {
            joined.start = Swift.min(run.start, self[first].start)
            joined.count = Swift.max(run.end, self[last - 1].end) - joined.start
        }
        replaceSubrange(first..<last, with: CollectionOfOne(joined))
    }

    /// Takes a run out of runs that are in order and don't touch.
    mutating func removeRun(_ run: PageRange) {
        guard run.count > 0 else { return }
        let first = firstIndex(endingAfter: run.start)
        var last = first
        while last < count, self[last].start < run.end { last += 1 }
        guard first < last else { return }
        var rest: [PageRange] = []
        rest.appendRun(start: self[first].start, end: run.start)
        rest.appendRun(start: run.end, end: self[last - 1].end)
        replaceSubrange(first..<last, with: rest)
    }
}

extension PageRange {
    /// Whether all of it lies in `other`; never overflows, unlike `end`.
    func isWithin(_ other: PageRange) -> Bool {
        count >= 0 && start >= other.start && start <= other.end && count <= other.end - start
    }

    /// For messages on ranges that may be malformed.
    var text: String { "\(count) pages from page \(start)" }

    func intersection(_ other: PageRange) -> PageRange {
        let low = Swift.max(start, other.start), high = Swift.min(end, other.end)
        return PageRange(start: low, count: Swift.max(0, high - low))
    }
}

extension Protection {
    /// The bits as mprotect takes them; Linux numbers them as Mach does.
    var bits: Int32 { rawValue }

    /// The bits, with read access where there is write access: so does the hardware.
    func checkedBits(writable: Bool, at address: UInt64) throws(StoreError) -> Int32 {
        guard isWellFormed else { throw StoreError(.invalid, "\(rawValue) is no protection") }
        if contains(.write), !writable {
            throw StoreError(.readOnly, "The mapping at \(hexadecimal(address)) is for reading only")
        }
        return bits | (contains(.write) ? Protection.read.bits : 0)
    }
}
