internal import VMTypes

/// A settled layer: the version it ends with, and its row.
typealias SettledLayer = (version: Version, row: VersionRow)

/// The version rows of one object, or those above a checkpoint of it: read once, for all states that are asked about.
struct SettledRows {
    /// Ascending.
    private let rows: [SettledLayer]
    /// The oldest state that is gone by what each row, or one after it, says.
    private let oldestGone: [Version]
    /// Gaps before each row.
    private let gapsBefore: [Int]

    init(_ rows: [SettledLayer]) {
        self.rows = rows
        var oldestGone = [Version](repeating: .infinity, count: rows.count + 1)
        var gapsBefore = [Int](repeating: 0, count: rows.count + 1)
        for index in rows.indices.reversed() { oldestGone[index] = min(rows[index].row.first, oldestGone[index + 1]) }
        for index in rows.indices { gapsBefore[index + 1] = gapsBefore[index] + (rows[index].row.isGap ? 1 : 0) }
        self.oldestGone = oldestGone
        self.gapsBefore = gapsBefore
    }

    /// The layers of a segment, ascending; nil where layers within it are gone.
    func layers(of segment: PageStore.Segment) -> ArraySlice<SettledLayer>? {
        let start = rows.partitioningIndex { $0.version >= segment.from }
        let end = rows.partitioningIndex { $0.version > segment.through }
        guard gapsBefore[start] == gapsBefore[max(start, end)], oldestGone[end] > segment.through || segment.through == .infinity
        else { return nil }
        return rows[start..<max(start, end)]
    }
}

extension PageStore {
    /// The settled layers of each segment, ascending; of the one that `base` begins with, those that its checkpoint lacks, and
    /// none of the segments below. The rows of an object are read once, however many segments are its.
    ///
    /// Throws `.notRetained` where layers are gone, `.damaged` where rows do not add up to their chain.
    func settledLayers(of segments: [Segment], above base: CheckpointBase? = nil, _ t: LMDB.Transaction)
        throws(StoreError) -> [ArraySlice<SettledLayer>]
    {
        var known: [ObjectID: SettledRows] = [:]
        return try settledLayers(of: segments, above: base, &known, t)
    }

    /// The same, with the rows that have been read already in the transaction.
    func settledLayers(
        of segments: [Segment], above base: CheckpointBase? = nil, _ known: inout [ObjectID: SettledRows], _ t: LMDB.Transaction
    ) throws(StoreError) -> [ArraySlice<SettledLayer>] {
        var layers: [ArraySlice<SettledLayer>] = []
        for segment in segments[...(base?.segment ?? segments.count - 1)] {
            let rows: SettledRows
            if let read = known[segment.object] { rows = read } else {
                let isBase = base.map { segments[$0.segment].object == segment.object } ?? false
                rows = try settledRows(of: segment.object, above: isBase ? base?.row : nil, t)
                known[segment.object] = rows
            }
            guard let found = rows.layers(of: segment) else {
                throw StoreError(
                    .notRetained, "version \(segment.through) of object \(segment.object) is no longer kept",
                    advice: "`varve log` and `varve snapshot list` show what is; `varve retain` keeps more from now on", path: folder)
            }
            layers.append(found)
        }
        return layers
    }

    /// The rows of an object, or those that a checkpoint does not stand for; together they make up the object's chain.
    private func settledRows(of object: ObjectID, above checkpoint: CheckpointRow?, _ t: LMDB.Transaction) throws(StoreError) -> SettledRows {
        let first = checkpoint?.through.next.rawValue ?? 0
        var rows: [SettledLayer] = []
        var chain = checkpoint?.chain ?? ChainRow()
        try t.forEach(.versions, from: Key(object.rawValue, first), prefix: 8) { (key, value) throws(StoreError) in
            chain.add(key: key, value: value)
            rows.append((Version(Key.field(key, 8) ?? 0), try VersionRow.decode(value, key: key)))
            return true
        }
        try t.forEach(.lineage, from: Key(object.rawValue, first), prefix: 8) { (key, value) throws(StoreError) in
            chain.add(key: key, value: value)
            return true
        }
        let expected = try t.row(.chains, Key(object.rawValue), ChainRow.self) ?? ChainRow()
        guard chain == expected else {
            throw StoreError(
                .damaged,
                "object \(object) has \(chain.count) version rows that do not add up to its chain of \(expected.count)",
                advice: "Run `varve verify`, then `varve repair`", path: lmdb.path)
        }
        return SettledRows(rows)
    }
}
