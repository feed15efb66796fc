internal import Synchronization
internal import VMTypes

extension PageStore {
    /// The page table of `object`'s last commit; made when it is first asked for, kept up by every commit after.
    func headTable(_ object: ObjectID) throws(StoreError) -> PageTable {
        while true {
            if let table = state.withLock({ $0.heads[object] }) { return table }
            let (through, table, settled, epoch) = try build(object, at: .infinity)
            let accepted = state.withLock { state in
                if state.heads[object] != nil { return true }
                // A commit, a settling or a merge came between: what was built may lack it.
                guard state.last == through || state.young.last?.version ?? state.settled == through,
                    state.settled <= settled, state.epoch <= epoch
                else { return false }
                state.heads[object] = table
                return true
            }
            if accepted { continue }
        }
    }

    /// The page table of `object` at `version`; `lease` holds what it names.
    func table(_ object: ObjectID, at version: Version) throws(StoreError) -> PageTable {
        while true {
            let (_, table, settled, epoch) = try build(object, at: version)
            let accepted: Bool = state.wait { state in
                guard state.settled <= settled, state.epoch <= epoch else { return false }
                // The settling that runs now was not told to keep this state: wait and see whether it did.
                if table.hasYoungPages, state.rearranging == .settling { return nil }
                state.others.removeAll { $0.table == nil }
                state.others.append(WeakTable(table: table))
                return true
            }
            if accepted { return table }
        }
    }

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
    func segments(_ object: ObjectID, at version: Version, lineage: (ObjectID) throws(StoreError) -> [Version: LineageRow])
        throws(StoreError) -> [Segment]
    {
        var segments: [Segment] = []
        var object = object
        var version = version
        while true {
            let rows = try lineage(object)
            guard let from = rows.keys.filter({ $0 <= version }).max(), let row = rows[from] else {
                segments.append(Segment(object: object, from: .zero, through: version))
                return segments
            }
            segments.append(Segment(object: object, from: from, through: version, size: row.size))
            guard segments.count < 100_000 else {
                throw StoreError(.damaged, "the lineage of object \(object) runs in a circle", advice: "Run `varve repair`")
            }
            object = row.source
            version = row.sourceVersion
        }
    }

    /// Builds a table from the page store's headers and, over them, the young layers. Answers through which version it
    /// knows commits, and the settled version and epoch that its places are true for.
    private func build(_ object: ObjectID, at version: Version) throws(StoreError)
        -> (through: Version, table: PageTable, settled: Version, epoch: UInt64)
    {
        // The young layers first: what is settled meanwhile is then seen twice rather than not at all.
        let (young, through, segments) = try state.withLock { (state) throws(StoreError) in
            let segments = try self.segments(object, at: version) { (id) throws(StoreError) in try state.metadata.lineage(of: id) }
            return (state.young, state.young.last?.version ?? state.settled, segments)
        }
        var storage = PageTable.Storage()
        var hasYoungPages = false
        var meta: StoreMeta?
        try lmdb.read { (t) throws(StoreError) in
            let now = try t.row(.meta, StoreMeta.key, StoreMeta.self)
            guard let now else { throw StoreError(.damaged, "the page store has no meta row", path: lmdb.path) }
            meta = now
            for segment in segments.reversed() {
                if segment.from != .zero {
                    storage.size = segment.size
                    storage.clear(from: Page.count(forBytes: Int(clamping: segment.size)))
                }
                try applySettled(segment, to: &storage, t)
                for record in young where record.version > now.mark.settled {
                    guard record.version >= segment.from, record.version <= segment.through else { continue }
                    for layer in record.layers where layer.object == segment.object {
                        Self.apply(layer, to: &storage)
                        hasYoungPages = true
                    }
                }
            }
        }
        let table = PageTable(
            object: object, version: version, sources: Set(segments.map(\.object)), hasYoungPages: hasYoungPages,
            storage: storage)
        return (through, table, meta!.mark.settled, meta!.epoch)
    }

    static func apply(_ layer: YoungLayer, to storage: inout PageTable.Storage) {
        storage.size = layer.size
        if layer.floorPage != .max { storage.clear(from: Int(layer.floorPage)) }
        for (entry, place) in zip(layer.entries, layer.places) {
            storage[Int(entry.page)] = PageTable.Slot(place: place, checksum: entry.isZero ? 0 : entry.checksum)
        }
    }

    /// The settled layers of a segment, ascending; `.notRetained` where layers within it are gone.
    func settledRows(of segment: Segment, _ t: LMDB.Transaction) throws(StoreError) -> [VersionRow] {
        let object = segment.object.rawValue
        var rows: [VersionRow] = []
        var chain = ChainRow()
        var isHidden = false
        try t.forEach(.versions, from: Key(object, 0), prefix: 8) { (key, value) throws(StoreError) in
            let version = Version(Key.field(key, 8) ?? 0)
            chain.add(key: Key(object, version.rawValue), value: [UInt8](value))
            guard version >= segment.from else { return true }
            let row = try VersionRow.decode(value, key: key)
            if row.isGap || version > segment.through {
                if row.first <= segment.through { isHidden = true }
            } else {
                rows.append(row)
            }
            return true
        }
        try t.forEach(.lineage, from: Key(object, 0), prefix: 8) { (key, value) throws(StoreError) in
            chain.add(key: Key(object, Key.field(key, 8) ?? 0), value: [UInt8](value))
            return true
        }
        let expected = try t.row(.chains, Key(object), ChainRow.self) ?? ChainRow()
        guard chain == expected else {
            throw StoreError(
                .damaged,
                "object \(segment.object) has \(chain.count) version rows that do not add up to its chain of \(expected.count)",
                advice: "Run `varve verify`, then `varve repair`", path: lmdb.path)
        }
        guard !isHidden else {
            throw StoreError(
                .notRetained, "version \(segment.through) of object \(segment.object) is no longer kept",
                advice: "`varve log` and `varve snapshot list` show what is; `varve retain` keeps more from now on", path: folder)
        }
        return rows
    }

    private func applySettled(_ segment: Segment, to storage: inout PageTable.Storage, _ t: LMDB.Transaction) throws(StoreError) {
        for row in try settledRows(of: segment, t) {
            storage.size = row.size
            if row.floorPage != .max { storage.clear(from: Int(row.floorPage)) }
            let parts = try forEachPart(of: segment.object, record: row.record, t) { (header, firstPage) throws(StoreError) in
                var page = firstPage
                for entry in header.entries {
                    if entry.isZero {
                        storage[Int(entry.page)] = .zeros
                    } else {
                        storage[Int(entry.page)] = PageTable.Slot(place: .file(page), checksum: entry.checksum)
                        page += 1
                    }
                }
            }
            guard parts == Int(row.partCount) else {
                throw StoreError(
                    .damaged, "record \(row.record) of object \(segment.object) has \(parts) parts of \(row.partCount)",
                    advice: "Run `varve verify`, then `varve repair`", path: lmdb.path)
            }
        }
    }
}
