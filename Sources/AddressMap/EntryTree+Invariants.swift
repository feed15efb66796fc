extension EntryTree {
    /// Everything about the tree's shape, order and summaries that is not as it must be; empty in a
    /// sound tree. O(n).
    func violations() -> [String] {
        var found: [String] = []
        _ = check(isRoot: true, into: &found)
        return found
    }

    /// Checks a subtree and gives its depth.
    private func check(isRoot: Bool, into found: inout [String]) -> Int {
        let place = "node at \(hexadecimal(first))"
        if !entries.isEmpty && !children.isEmpty { found.append("\(place): entries in an inner node") }
        if width > Self.capacity { found.append("\(place): \(width) wide, \(Self.capacity) at most") }
        if !isRoot && width < Self.minimum { found.append("\(place): \(width) wide, \(Self.minimum) at least") }
        if isRoot && children.count == 1 { found.append("\(place): a root with one child") }
        var fresh = self
        fresh.summarizeChecked(into: &found)
        if fresh.first != first || fresh.last != last || fresh.largestGap != largestGap {
            found.append("\(place): summary out of date")
        }
        let depths = Set(children.map { $0.check(isRoot: false, into: &found) })
        if depths.count > 1 { found.append("\(place): leaves at several depths") }
        return (depths.first ?? 0) + 1
    }

    /// Summarizes, unless entries or children are out of order, which is reported.
    private mutating func summarizeChecked(into found: inout [String]) {
        let ranges = isLeaf ? entries.map { ($0.start, $0.end) } : children.map { ($0.first, $0.last) }
        for (left, right) in zip(ranges, ranges.dropFirst()) where left.1 > right.0 {
            found.append("\(hexadecimal(right.0)) lies before the end of its predecessor")
            return
        }
        summarize()
    }
}
