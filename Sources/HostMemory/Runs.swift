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
}
