internal import VMTypes

/// Where one object's lineage begins anew: its rows, ascending by the versions they begin with.
struct Lineage {
    private(set) var rows: [(from: Version, row: LineageRow)] = []

    var isEmpty: Bool { rows.isEmpty }

    /// The newest that begins at `version` or before.
    func newest(at version: Version) -> (from: Version, row: LineageRow)? {
        let end = rows.partitioningIndex { $0.from > version }
        return end > 0 ? rows[end - 1] : nil
    }

    /// Adds a row, in the place of one that begins with the same version.
    mutating func add(_ row: LineageRow, from version: Version) {
        let index = rows.partitioningIndex { $0.from >= version }
        if index < rows.count, rows[index].from == version { rows[index].row = row } else { rows.insert((version, row), at: index) }
    }
}

extension RandomAccessCollection where Index == Int {
    /// The first index of which `isBehind` is true, where it is true of all that follow; `endIndex` where it is true of none.
    func partitioningIndex(where isBehind: (Element) -> Bool) -> Int {
        var low = startIndex
        var high = endIndex
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

extension PageStore {
    /// Layers of one object that a state is made of. In a list of them, each lies over those after it.
    struct Segment: Hashable {
        var object: ObjectID
        /// Layers of versions `from`…`through`.
        var from: Version
        var through: Version
        /// The size that the lineage which begins the segment gave the object; 0 for none.
        var size: UInt64 = 0
    }

    /// Follows the lineage of `object` at `version`.
    func segments(_ object: ObjectID, at version: Version, lineage: (ObjectID) throws(StoreError) -> Lineage)
        throws(StoreError) -> [Segment]
    {
        var segments: [Segment] = []
        var object = object
        var version = version
        while true {
            guard let (from, row) = try lineage(object).newest(at: version) else {
                segments.append(Segment(object: object, from: .zero, through: version))
                return segments
            }
            segments.append(Segment(object: object, from: from, through: version, size: row.size))
            guard segments.count < 100_000 else {
                throw StoreError(.damaged, "the lineage of object \(object) runs in a circle", advice: "Run `varve repair`")
            }
            version = Mutant.isPlanted(.cloneFollowsHead) && row.source != object ? .infinity : row.sourceVersion
            object = row.source
        }
    }

    /// The same, as of the last commit.
    func segments(_ object: ObjectID, at version: Version, _ state: inout State) throws(StoreError) -> [Segment] {
        try segments(object, at: version) { (id) throws(StoreError) in try state.metadata.lineage(of: id) }
    }
}
