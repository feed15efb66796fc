internal import VMTypes

extension AddressMap {
    /// Everything about the map that is not as its invariants say, a sentence each; empty in a sound map.
    ///
    /// Entries must be well formed, within ``bounds``, disjoint and in order, and no two neighbours may be
    /// one entry; the tree that holds them must be balanced and its summaries true. Whatever the calls on a
    /// map were, a finding is a defect of this module. O(n).
    public func violations() -> [String] {
        var found = tree.violations()
        var previous: MapEntry?
        var number = 0
        for entry in entries {
            do { try entry.checkWellFormed() } catch { found.append(error.message) }
            if entry.start < bounds.lowerBound || entry.end > bounds.upperBound {
                found.append("\(entry.summary) is not within \(hexadecimal(bounds))")
            }
            if let previous, previous.continues(into: entry) {
                found.append("\(previous.summary) and \(entry.summary) are one entry")
            }
            previous = entry
            number += 1
        }
        if number != count { found.append("\(number) entries, counted as \(count)") }
        return found
    }
}
