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

extension PageRange {
    func intersection(_ other: PageRange) -> PageRange {
        let low = Swift.max(start, other.start), high = Swift.min(end, other.end)
        return PageRange(start: low, count: Swift.max(0, high - low))
    }
}

extension Protection {
    /// The bits as mprotect takes them; Linux numbers them as Mach does.
    var bits: Int32 { rawValue }
}
