internal import AddressMap
internal import VMTypes

/// The adjacent entries that one mapping of an object lies behind, whole: protecting or inheriting a part of a region
/// splits its entry, not its mapping.
///
/// An object has one mapping at a time, so entries of one object that continue each other are always one placement.
struct Placement {
    var object: ObjectID
    var range: Range<UInt64>
    /// Bytes into the object, at the range's start.
    var offset: UInt64
    /// In order of address; they cover `range`.
    var entries: [MapEntry]

    /// Whether two placements need the same mapping, whatever their entries' attributes.
    func isSamePlace(as other: Placement) -> Bool {
        object == other.object && range == other.range && offset == other.offset
    }

    /// The placement that `entry` alone is.
    init?(_ entry: MapEntry) {
        guard case .object(let object, let offset) = entry.backing else { return nil }
        self.object = object
        self.offset = offset
        range = entry.range
        entries = [entry]
    }
}

extension AddressMap {
    /// The placements that overlap `range`; they may reach beyond it.
    func placements(in range: Range<UInt64>) -> [Placement] {
        var found: [Placement] = []
        for entry in entries(in: range) {
            if let last = found.last, entry.start < last.range.upperBound { continue }
            if let placement = placement(around: entry) { found.append(placement) }
        }
        return found
    }

    /// Every placement.
    var placements: [Placement] {
        var found: [Placement] = []
        for entry in entries {
            if let last = found.last?.entries.last, last.isContinued(by: entry) {
                found[found.count - 1].entries.append(entry)
                found[found.count - 1].range = found[found.count - 1].range.lowerBound..<entry.end
            } else if let placement = Placement(entry) {
                found.append(placement)
            }
        }
        return found
    }

    private func placement(around entry: MapEntry) -> Placement? {
        guard var placement = Placement(entry) else { return nil }
        var before: [MapEntry] = []
        while let last = lookup((before.last ?? entry).start - 1), last.isContinued(by: before.last ?? entry) { before.append(last) }
        while let last = placement.entries.last, let next = lookup(last.end), last.isContinued(by: next) {
            placement.entries.append(next)
        }
        placement.entries.insert(contentsOf: before.reversed(), at: 0)
        placement.offset = placement.entries[0].backing.offset
        placement.range = placement.entries[0].start..<placement.entries[placement.entries.count - 1].end
        return placement
    }
}

extension MapEntry {
    /// Whether `next` shows the bytes that follow in the same object, under whatever attributes.
    fileprivate func isContinued(by next: MapEntry) -> Bool {
        end == next.start && backing.object != nil && backing.advanced(by: length) == next.backing
    }
}
