internal import VMTypes

/// A task's address map: which addresses are mapped, to what, and with which rights.
///
/// The map is the algebra only: it knows no memory, no object's content and no disk. It is a value; a
/// copy costs O(1) and shares what neither side changes, so a map can be kept as it was and put back.
///
///     var map = AddressMap(bounds: 0x10_0000..<0x20_0000)
///     let range = try map.place(address: 0, size: 8192, mask: 0, anywhere: true)
///     try map.insert(MapEntry(start: range.lowerBound, end: range.upperBound))
///     map.lookup(range.lowerBound)?.current          // rw-
///
/// Invariants: entries are page-aligned, not empty, disjoint, within ``bounds``; no entry continues into
/// its neighbour (such two are one entry). A call that throws has changed nothing. In what follows n is
/// the number of entries, k that of the entries in the range of a call.
///
/// Ranges given to calls must be page-aligned; ``outward(address:size:)`` makes them so from what a
/// caller of a vm_* call gave.
public struct AddressMap: Sendable {
    /// The addresses that entries may have: page-aligned, without page 0.
    public let bounds: Range<UInt64>
    /// The number of entries.
    public internal(set) var count = 0
    var tree = EntryTree()

    /// An empty map.
    ///
    /// `bounds` is rounded inward to pages and loses page 0. Its end is at most 2^64 − 4,096, so no
    /// entry's end ever exceeds 64 bits.
    public init(bounds: Range<UInt64>) {
        let upper = Page.trunc(bounds.upperBound)
        let lower = max(Page.round(bounds.lowerBound) ?? upper, UInt64(Page.size))
        self.bounds = lower..<max(lower, upper)
    }

    /// True where nothing is mapped.
    public var isEmpty: Bool { count == 0 }

    /// The entry that contains `address`. O(log n).
    public func lookup(_ address: UInt64) -> MapEntry? {
        guard let entry = tree.entry(endingAfter: address), entry.start <= address else { return nil }
        return entry
    }

    /// The entry that contains `address`, else the next one above it: `vm_region`'s rule. O(log n).
    public func lookupOrNext(_ address: UInt64) -> MapEntry? { tree.entry(endingAfter: address) }

    /// The entries that overlap `range`, whole, in address order. O(log n + k).
    public func entries(in range: Range<UInt64>) -> [MapEntry] {
        var result: [MapEntry] = []
        var address = range.lowerBound
        while address < range.upperBound, let (leaf, first) = tree.leaf(endingAfter: address) {
            for entry in leaf[first...] {
                if entry.start >= range.upperBound { return result }
                result.append(entry)
                address = entry.end
            }
        }
        return result
    }

    /// The parts of entries within `range`, clipped to it, in address order. O(log n + k).
    public func pieces(in range: Range<UInt64>) -> [MapEntry] {
        entries(in: range).compactMap { $0.clipped(to: range) }
    }

    /// The first run of unmapped addresses in `range`, clipped to it; nil where all are mapped (and for
    /// an empty range). O(log n + k).
    public func firstHole(in range: Range<UInt64>) -> Range<UInt64>? {
        var address = range.lowerBound
        for entry in entries(in: range) {
            if entry.start > address { return address..<entry.start }
            address = entry.end
        }
        return address < range.upperBound ? address..<range.upperBound : nil
    }
}

extension AddressMap: Equatable {
    /// Same bounds, same entries. O(n).
    public static func == (a: AddressMap, b: AddressMap) -> Bool {
        a.bounds == b.bounds && a.count == b.count && a.entries.elementsEqual(b.entries)
    }
}
