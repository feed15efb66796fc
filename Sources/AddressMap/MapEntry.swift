public import VMTypes

/// A run of addresses with one backing and one set of attributes.
///
/// In a map, `start` and `end` are page-aligned, `start < end`, and `current` is a subset of `maximum`.
public struct MapEntry: Hashable, Sendable {
    /// The first address.
    public var start: UInt64
    /// One past the last address.
    public var end: UInt64
    /// What the bytes come from, as of `start`.
    public var backing: Backing
    /// What accesses are allowed now.
    public var current: Protection
    /// What `current` may be raised to; only ever shrinks.
    public var maximum: Protection
    /// What a child task receives of the entry.
    public var inheritance: Inheritance
    /// True where the entry was mapped with `copy`.
    public var copied: Bool
    /// How many times the entry is wired; 0 where it isn't.
    public var wiredCount: Int

    /// An entry for [`start`, `end`); the defaults are those of `vm_allocate`.
    public init(
        start: UInt64, end: UInt64, backing: Backing = .zeroFill, current: Protection = .default,
        maximum: Protection = .all, inheritance: Inheritance = .copy, copied: Bool = false, wiredCount: Int = 0
    ) {
        self.start = start
        self.end = end
        self.backing = backing
        self.current = current
        self.maximum = maximum
        self.inheritance = inheritance
        self.copied = copied
        self.wiredCount = wiredCount
    }

    /// The addresses [`start`, `end`).
    public var range: Range<UInt64> { start..<end }
    /// The length in bytes.
    public var length: UInt64 { end - start }

    /// The part of the entry within `range`, its backing advanced to match; nil where they don't overlap.
    public func clipped(to range: Range<UInt64>) -> MapEntry? {
        let lower = max(start, range.lowerBound)
        let upper = min(end, range.upperBound)
        guard lower < upper else { return nil }
        var piece = self
        piece.start = lower
        piece.end = upper
        piece.backing = backing.advanced(by: lower - start)
        return piece
    }

    /// True where `next` begins at `end`, its backing carries on where this one's stops, and all
    /// attributes are equal: the two are one entry.
    public func continues(into next: MapEntry) -> Bool {
        end == next.start && current == next.current && maximum == next.maximum
            && inheritance == next.inheritance && copied == next.copied && wiredCount == next.wiredCount
            && backing.advanced(by: length) == next.backing
    }
}
