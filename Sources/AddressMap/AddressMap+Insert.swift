public import VMTypes

extension AddressMap {
    /// Adds `entry`, merged with neighbours that it continues. O(log n).
    ///
    /// - Throws: INVALID_ARGUMENT for an entry that is malformed (not page-aligned, empty, protection
    ///   bits outside read, write and execute, `current` not a subset of `maximum`, a negative wired
    ///   count, an object offset that is not page-aligned or whose end exceeds 64 bits);
    ///   INVALID_ADDRESS outside ``bounds``; NO_SPACE where an entry overlaps.
    public mutating func insert(_ entry: MapEntry) throws(VMError) {
        try entry.checkWellFormed()
        try checkBounds(entry.range)
        try checkFree(entry.range)
        join(entry)
    }

    /// Takes `range` out of the map; entries that reach beyond it are clipped. O((k + 1) log n).
    ///
    /// - Returns: what was mapped in `range`, clipped to it, in address order; empty for holes.
    @discardableResult
    public mutating func remove(_ range: Range<UInt64>) -> [MapEntry] {
        requireAligned(range)
        let affected = entries(in: range)
        for entry in affected { cut(range, from: entry) }
        return affected.compactMap { $0.clipped(to: range) }
    }

    /// Adds an entry that is known to be legal, merged with its neighbours.
    mutating func join(_ entry: MapEntry) {
        var merged = entry
        var replaced: UInt64?
        if let left = lookup(entry.start - 1), left.continues(into: entry) {
            merged.start = left.start
            merged.backing = left.backing
            replaced = left.start
        }
        if let right = lookup(entry.end), entry.continues(into: right) {
            merged.end = right.end
            if replaced == nil {
                replaced = right.start
            } else {
                tree.remove(startingAt: right.start)
                count -= 1
            }
        }
        if let replaced {
            tree.replace(startingAt: replaced, with: merged)
        } else {
            tree.insert(merged)
            count += 1
        }
    }

    /// Leaves of `entry`, which is in the map, only what lies outside `range`.
    private mutating func cut(_ range: Range<UInt64>, from entry: MapEntry) {
        let left = entry.clipped(to: 0..<range.lowerBound)
        let right = entry.clipped(to: range.upperBound..<UInt64.max)
        if let kept = left ?? right {
            tree.replace(startingAt: entry.start, with: kept)
            if left != nil, let right {
                tree.insert(right)
                count += 1
            }
        } else {
            tree.remove(startingAt: entry.start)
            count -= 1
        }
    }

    /// Stops the program where `range` is not page-aligned: a mistake of the caller, not of its user.
    func requireAligned(_ range: Range<UInt64>) {
        precondition(
            Page.trunc(range.lowerBound) == range.lowerBound && Page.trunc(range.upperBound) == range.upperBound,
            "an address map takes page-aligned ranges")
    }
}

extension MapEntry {
    /// Throws INVALID_ARGUMENT where the entry could be in no map.
    func checkWellFormed() throws(VMError) {
        let fault: String? =
            if start >= end {
                "ends at or before its start"
            } else if Page.trunc(start) != start || Page.trunc(end) != end {
                "is not page-aligned"
            } else if !current.isWellFormed || !maximum.isWellFormed {
                "has protection bits outside read, write and execute: \(current.rawValue), \(maximum.rawValue)"
            } else if !current.isSubset(of: maximum) {
                "has protection \(current), which is more than its maximum \(maximum)"
            } else if wiredCount < 0 {
                "is wired \(wiredCount) times"
            } else if Page.trunc(backing.offset) != backing.offset {
                "has object offset \(hexadecimal(backing.offset)), which is not page-aligned"
            } else if backing.offset.addingReportingOverflow(length).overflow {
                "has object offset \(hexadecimal(backing.offset)) and ends past 64 bits in the object"
            } else {
                nil
            }
        if let fault {
            throw VMError(.invalidArgument, "the entry from \(hexadecimal(start)) to \(hexadecimal(end)) \(fault)")
        }
    }
}
