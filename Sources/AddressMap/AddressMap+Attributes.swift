public import VMTypes

extension AddressMap {
    /// Sets the current or the maximum protection of all entries in `range`: every entry is checked
    /// before one is changed. Entries are clipped, and merged where they have become equal.
    ///
    /// - Parameters:
    ///   - setMaximum: false: `current` becomes `protection`. True: `maximum` becomes `protection` and
    ///     `current` loses what is no longer in it.
    /// - Returns: the runs that changed, in address order.
    /// - Throws: INVALID_ARGUMENT for bits outside read, write and execute, even for an empty range; then
    ///   whichever comes first in address order of INVALID_ADDRESS for a hole and PROTECTION_FAILURE for
    ///   an entry whose maximum lacks a bit of `protection`.
    /// - Complexity: O((k + 1) log n).
    @discardableResult
    public mutating func protect(
        _ range: Range<UInt64>, setMaximum: Bool, _ protection: Protection
    ) throws(VMError) -> [EntryChange] {
        guard protection.isWellFormed else {
            throw VMError(
                .invalidArgument,
                "\(hexadecimal(range)): protection \(protection.rawValue) has bits outside read, write and execute")
        }
        try check(range) { entry throws(VMError) in
            guard protection.isSubset(of: entry.maximum) else {
                throw VMError(
                    .protectionFailure, "\(hexadecimal(range)): \(protection) exceeds what \(entry.summary) permits")
            }
        }
        return rewrite(range) { entry in
            if setMaximum {
                entry.maximum = protection
                entry.current.formIntersection(protection)
            } else {
                entry.current = protection
            }
        }
    }

    /// Sets what a child task receives of `range`; holes are passed over. O((k + 1) log n).
    ///
    /// - Returns: the runs that changed, in address order.
    @discardableResult
    public mutating func inherit(_ range: Range<UInt64>, _ inheritance: Inheritance) -> [EntryChange] {
        rewrite(range) { $0.inheritance = inheritance }
    }

    /// Wires all of `range` once more, or, where `access` is none, once less. O((k + 1) log n).
    ///
    /// - Parameter access: what the wired memory is to be used for; none unwires.
    /// - Returns: the runs whose count changed, in address order. A run is to be pinned where its count
    ///   rose from 0, unpinned where it fell to 0.
    /// - Throws: INVALID_ARGUMENT for bits outside read, write and execute, even for an empty range; then
    ///   whichever comes first in address order of INVALID_ADDRESS for a hole, PROTECTION_FAILURE for an
    ///   entry whose current protection lacks a bit of `access`, INVALID_ARGUMENT for unwiring what is not
    ///   wired, RESOURCE_SHORTAGE for a count that is exhausted.
    @discardableResult
    public mutating func wire(_ range: Range<UInt64>, access: Protection) throws(VMError) -> [EntryChange] {
        guard access.isWellFormed else {
            throw VMError(
                .invalidArgument,
                "\(hexadecimal(range)): access \(access.rawValue) has bits outside read, write and execute")
        }
        let step = access.isEmpty ? -1 : 1
        try check(range) { entry throws(VMError) in
            let place = "\(hexadecimal(range)): \(entry.summary)"
            if !access.isSubset(of: entry.current) {
                throw VMError(.protectionFailure, "\(place) can't be wired for \(access)")
            } else if step < 0, entry.wiredCount == 0 {
                throw VMError(.invalidArgument, "\(place) is not wired")
            } else if step > 0, entry.wiredCount == .max {
                throw VMError(.resourceShortage, "\(place) is wired as often as can be counted")
            }
        }
        return rewrite(range) { $0.wiredCount += step }
    }

    /// Makes every wired count 0. O(n).
    public mutating func forgetWiring() {
        for entry in entries where entry.wiredCount > 0 { _ = rewrite(entry.range) { $0.wiredCount = 0 } }
    }

    /// Takes the wired counts of `other` where it has the same backing at the same addresses; all others become 0. O(n).
    public mutating func takeWiring(of other: AddressMap) {
        forgetWiring()
        for wired in other.entries where wired.wiredCount > 0 {
            for piece in pieces(in: wired.range) where piece.backing == wired.backing.advanced(by: piece.start - wired.start) {
                _ = rewrite(piece.range) { $0.wiredCount = wired.wiredCount }
            }
        }
    }

    /// Checks every entry of `range` in address order; a hole is INVALID_ADDRESS.
    private func check(
        _ range: Range<UInt64>, _ body: (MapEntry) throws(VMError) -> Void
    ) throws(VMError) {
        requireAligned(range)
        var address = range.lowerBound
        func checkReaches(_ next: UInt64) throws(VMError) {
            guard next > address else { return }
            throw VMError(
                .invalidAddress, "\(hexadecimal(range)): nothing is mapped at \(hexadecimal(address..<next))")
        }
        for entry in entries(in: range) {
            try checkReaches(entry.start)
            try body(entry)
            address = entry.end
        }
        try checkReaches(range.upperBound)
    }

    /// Clips the entries of `range` to it, changes them, and merges what has become equal.
    private mutating func rewrite(_ range: Range<UInt64>, _ change: (inout MapEntry) -> Void) -> [EntryChange] {
        requireAligned(range)
        var changes: [EntryChange] = []
        for before in pieces(in: range) {
            var after = before
            change(&after)
            if after != before { changes.append(EntryChange(before: before, after: after)) }
        }
        for change in changes {
            remove(change.range)
            join(change.after)
        }
        return changes
    }
}
