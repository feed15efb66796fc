internal import Glibc
internal import Synchronization
public import VMTypes

/// What reclaiming did, or would do.
public struct ReclaimReport: Hashable, Sendable {
    /// Layers that nobody sees, and layers folded into others.
    public var layersDropped = 0
    public var layersMerged = 0
    /// Bytes of pages taken out of use, and bytes of pages written again to do so.
    public var bytesFreed = 0
    public var bytesRewritten = 0
    /// Bytes out of use that a lease still pins.
    public var bytesPinned = 0

    public init() {}
}

extension PageStore {
    /// Takes out of use all that nobody can see, folds layers between which nobody looks, and frees what no lease pins.
    ///
    /// Pages change their places, never their bytes: what is mapped stays as it is. With `dryRun` nothing is changed.
    @discardableResult
    public func reclaim(dryRun: Bool = false) throws(StoreError) -> ReclaimReport {
        try requireWriter()
        var report = ReclaimReport()
        if !dryRun { try settleOrMakeRoom(&report) }
        try mergingAlone { () throws(StoreError) in
            var full: StoreError?
            do throws(StoreError) { try merge(deadShare: 0, dryRun: dryRun, &report) } catch {
                guard error.code == .full else { throw error }
                full = error
            }
            // What is out of use makes room, even where there was too little to merge more.
            try bury(dryRun: dryRun, &report)
            if let full { throw full }
        }
        return report
    }

    /// Settles; on a full disk, first frees what nobody sees, which takes next to no room.
    private func settleOrMakeRoom(_ report: inout ReclaimReport) throws(StoreError) {
        do throws(StoreError) { try settle() } catch {
            guard error.code == .full else { throw error }
            try mergingAlone { () throws(StoreError) in
                try merge(deadShare: .infinity, dryRun: false, &report)
                try bury(dryRun: false, &report)
            }
            try settle()
        }
    }

    /// Rewrites an object's head in page order, into one layer, so that it maps in long runs.
    public func optimize(_ object: ObjectID) throws(StoreError) -> ReclaimReport {
        try requireWriter()
        try settle()
        return try mergingAlone { () throws(StoreError) in
            var report = ReclaimReport()
            guard let mine = try exclusively({ () throws(StoreError) in try liveness() })[object] else { return report }
            for group in mine.groups().live where group.count > 1 { try mergeGroup(mine, group, &report) }
            try bury(dryRun: false, &report)
            return report
        }
    }

    /// Runs `body` while nobody else merges.
    func mergingAlone<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        merging._unsafeLock()
        defer { merging._unsafeUnlock() }
        return try body()
    }

    /// Merges where half of what it would read is dead: space stays below twice what lives, and writing below about twice
    /// what was committed. Looks only once an eighth of the file's size has been settled since the last time.
    func mergeWhereWorthwhile() throws(StoreError) {
        let settled = state.withLock { $0.unmergedPages } * Page.size
        guard settled >= Self.leastMerge, try settled >= lmdb.usage().used / 8 else { return }
        state.withLock { $0.unmergedPages = 0 }
        try mergingAlone { () throws(StoreError) in
            var report = ReclaimReport()
            try merge(deadShare: 0.5, dryRun: false, &report)
            try bury(dryRun: false, &report)
        }
    }

    /// Bytes below which nothing is merged by itself.
    private static let leastMerge = 32 << 20

    private func merge(deadShare: Double, dryRun: Bool, _ report: inout ReclaimReport) throws(StoreError) {
        let all = try exclusively { () throws(StoreError) in try liveness() }
        for mine in all.values.sorted(by: { $0.object < $1.object }) where mine.isKnown {
            let (live, dead) = mine.groups()
            for group in dead where group.count > 1 || !mine.rows[group[0]].row.isGap {
                report.layersDropped += group.count { !mine.rows[$0].row.isGap }
                for index in group { report.bytesFreed += Int(mine.rows[index].row.pageCount) * Page.size }
                if !dryRun { try dropIfDead(mine.object, group.map { mine.rows[$0] }) }
            }
            for group in live where group.count > 1 {
                let total = group.reduce(0) { $0 + Int(mine.rows[$1].row.pageCount) }
                let kept = try livePages(mine, group).count
                guard total > 0, Double(total - kept) > deadShare * Double(total) || (deadShare == 0 && total == 0) else { continue }
                report.bytesFreed += total * Page.size
                report.bytesRewritten += kept * Page.size
                report.layersMerged += group.count
                if !dryRun { try mergeGroup(mine, group, &report, counted: true) }
            }
            if live.isEmpty, mine.views.isEmpty, !dryRun {
                try rearranging(.merging) { () throws(StoreError) in try forget(mine.object) }
            }
        }
    }

    /// The newest entry of each page within a group, with its place. Only merging changes settled layers: no gate is needed.
    private func livePages(_ mine: ObjectLiveness, _ group: [Int]) throws(StoreError) -> LayerFold {
        let fold = LayerFold()
        try lmdb.read { (t) throws(StoreError) in
            for index in group {
                let row = mine.rows[index].row
                fold.clear(from: row.floorPage)
                let parts = try forEachPart(of: mine.object, record: row.record, t) { (header, first) throws(StoreError) in
                    var page = first
                    for entry in header.entries {
                        fold.add(entry, .file(page))
                        if !entry.isZero { page += 1 }
                    }
                }
                guard parts == Int(row.partCount) else {
                    throw StoreError(
                        .damaged, "record \(row.record) of object \(mine.object) has \(parts) parts of \(row.partCount)",
                        advice: "Run `varve verify`, then `varve repair`", path: lmdb.path)
                }
            }
        }
        return fold
    }

    /// Writes one layer of a group's newest pages, in page order, and takes the group's layers out of use.
    private func mergeGroup(_ mine: ObjectLiveness, _ group: [Int], _ report: inout ReclaimReport, counted: Bool = false)
        throws(StoreError)
    {
        let pages = try livePages(mine, group).pages()
        if !counted {
            report.layersMerged += group.count
            report.bytesRewritten += pages.count * Page.size
        }
        try checkSpace(pages.count * Page.size * 5 / 4 + (1 << 20))
        let rows = group.map { mine.rows[$0] }
        let record = newRecord()
        var moves: [Relocation] = []
        var parts: UInt32 = 0
        var isNamed = false
        defer { if !isNamed { discard(object: mine.object, record: record, parts: parts) } }
        var start = 0
        // Bounded transactions; the record has no name until the last one.
        while start < pages.count {
            let end = min(start + 16 * LayerPart.maximumEntries, pages.count)
            try exclusively { () throws(StoreError) in
                try lmdb.write { (t) throws(StoreError) in
                    try saveCounters(t)
                    var first = start
                    while first < end {
                        let last = min(first + LayerPart.maximumEntries, end)
                        moves += try copyPart(mine.object, record, parts, Array(pages[first..<last]), t)
                        parts += 1
                        first = last
                    }
                }
            }
            Failpoint.pass("merge.part")
            start = end
        }
        let newest = rows.last!
        let row = VersionRow(
            record: record, first: rows[0].row.first, size: newest.row.size,
            floorPage: rows.map(\.row.floorPage).min() ?? .max, partCount: parts, pageCount: UInt32(pages.count),
            time: newest.row.time)
        isNamed = try rearranging(.merging) { () throws(StoreError) in
            // Somebody may have begun to look at a state in between while the pages were copied.
            guard try isStillOneGroup(mine.object, rows) else { return false }
            try replace(mine.object, rows, by: row, parts: parts, moves)
            return true
        }
    }

    private func isStillOneGroup(_ object: ObjectID, _ rows: [(version: Version, row: VersionRow)]) throws(StoreError) -> Bool {
        guard let now = try liveness()[object] else { return false }
        let wanted = rows.map(\.version)
        return now.groups().live.contains { group in
            let versions = group.map { now.rows[$0].version }
            return versions.contains(wanted[0]) && wanted.allSatisfy(versions.contains)
        }
    }

    /// Puts the merged record in the place of the group's rows, and tells the page tables where the pages are now.
    private func replace(
        _ object: ObjectID, _ rows: [(version: Version, row: VersionRow)], by row: VersionRow, parts: UInt32,
        _ moves: [Relocation]
    ) throws(StoreError) {
        // They read what the checkpoint holds of them before it changes.
        for table in state.withLock({ $0.tables(of: object) }) { table.readAll() }
        let merged = (version: rows.last!.version, row: row)
        let (epoch, checkpoints) = try lmdb.write { (t) throws(StoreError) in
            try saveCounters(t)
            let epoch = try nextEpoch(t)
            for old in rows { try takeOut(object, old, epoch, t) }
            try putChained(.versions, Key(object.rawValue, merged.version.rawValue), row, object: object, t)
            for part in 0..<parts { try t.delete(.graveyard, Key(0, object.rawValue, row.record).with(part)) }
            return (epoch, try correctCheckpoints(object, without: rows, with: merged, moves, t))
        }
        Failpoint.pass("merge.committed")
        state.withLock { state in
            state.epoch = epoch
            state.relocate(object, moves)
            state.note(checkpoints, object, parts: Int(parts))
        }
    }

    /// Copies pages into one part of a new record, each checked on the way.
    private func copyPart(
        _ object: ObjectID, _ record: UInt64, _ part: UInt32, _ pages: [(PageEntry, Place)], _ t: LMDB.Transaction
    ) throws(StoreError) -> [Relocation] {
        let header = LayerPart.Header(
            store: uuid, object: object, record: record, part: part, size: 0, entries: pages.map(\.0))
        try t.put(.graveyard, Key(0, object.rawValue, record).with(part), row: GraveRow(lastVersion: .infinity))
        let value = try t.reserve(.records, Key(object.rawValue, record).with(part), count: header.valueSize)
        header.encode(to: value.baseAddress!)
        var moves: [Relocation] = []
        var destination = value.baseAddress! + LayerPart.headerSize
        var filePage = try t.filePage(of: UnsafeRawBufferPointer(value)) + 1
        for (entry, place) in pages where !entry.isZero {
            try readPlace(place, into: UnsafeMutableRawBufferPointer(start: destination, count: Page.size))
            guard Checksum.of(UnsafeRawPointer(destination), count: Page.size) == entry.checksum else {
                throw StoreError(
                    .damaged, "page \(entry.page) of object \(object) is damaged; it is left where it is",
                    advice: "Run `varve verify`, then `varve repair`", path: lmdb.path)
            }
            moves.append(Relocation(page: Int(entry.page), from: place, to: .file(filePage)))
            destination += Page.size
            filePage += 1
        }
        return moves
    }

    private func nextEpoch(_ t: LMDB.Transaction) throws(StoreError) -> UInt64 {
        guard var meta = try t.row(.meta, StoreMeta.key, StoreMeta.self) else {
            throw StoreError(.damaged, "the page store has no meta row", path: lmdb.path)
        }
        meta.epoch += 1
        try t.put(.meta, StoreMeta.key, row: meta)
        return meta.epoch
    }

    /// Takes a version row away and puts its record's parts into the graveyard.
    private func takeOut(_ object: ObjectID, _ entry: (version: Version, row: VersionRow), _ epoch: UInt64, _ t: LMDB.Transaction)
        throws(StoreError)
    {
        try deleteChained(.versions, Key(object.rawValue, entry.version.rawValue), object: object, t)
        for part in 0..<entry.row.partCount {
            try t.put(
                .graveyard, Key(epoch, object.rawValue, entry.row.record).with(part), row: GraveRow(lastVersion: entry.version))
        }
    }

    private func dropIfDead(_ object: ObjectID, _ rows: [(version: Version, row: VersionRow)]) throws(StoreError) {
        try rearranging(.merging) { () throws(StoreError) in
            let versions = Set(rows.map(\.version))
            guard let now = try liveness()[object],
                now.groups().dead.contains(where: { group in versions.isSubset(of: group.map { now.rows[$0].version }) })
            else { return }
            try drop(object, rows)
        }
    }

    private func drop(_ object: ObjectID, _ rows: [(version: Version, row: VersionRow)]) throws(StoreError) {
        let (epoch, checkpoints) = try lmdb.write { (t) throws(StoreError) in
            let epoch = try nextEpoch(t)
            for row in rows { try takeOut(object, row, epoch, t) }
            // States that had these layers are gone: the gap says so to whoever asks for one.
            let last = rows.last!
            let gap = VersionRow(
                record: 0, first: rows.map(\.row.first).min()!, size: 0, floorPage: .max, partCount: 0, pageCount: 0,
                time: last.row.time)
            try putChained(.versions, Key(object.rawValue, last.version.rawValue), gap, object: object, t)
            return (epoch, try correctCheckpoints(object, without: rows, with: (last.version, gap), [], t))
        }
        Failpoint.pass("merge.dropped")
        state.withLock { state in
            state.epoch = epoch
            state.note(checkpoints, object, parts: 0)
        }
    }

    /// Forgets an object that died and that no kept version holds.
    private func forget(_ object: ObjectID) throws(StoreError) {
        let info = try state.withLock { (state) throws(StoreError) in try state.metadata.object(object) }
        guard let info, !info.isLive, info.died <= settledVersion else { return }
        try lmdb.write { (t) throws(StoreError) in
            for version in try Metadata.lineage(of: object, t).keys { try t.delete(.lineage, Key(object.rawValue, version.rawValue)) }
            var gaps: [UInt64] = []
            try t.forEach(.versions, from: Key(object.rawValue, 0), prefix: 8) { (key, _) throws(StoreError) in
                if let version = Key.field(key, 8) { gaps.append(version) }
                return true
            }
            for version in gaps { try t.delete(.versions, Key(object.rawValue, version)) }
            try t.delete(.chains, Key(object.rawValue))
            try t.delete(.objects, Key(object.rawValue))
            try deleteCheckpoint(object, t)
        }
        Failpoint.pass("merge.forgotten")
        state.withLock { $0.metadata.forget(object) }
    }

    /// Deletes the graveyard's parts that no lease can see, in bounded transactions.
    private func bury(dryRun: Bool, _ report: inout ReclaimReport) throws(StoreError) {
        let leases = try leases.all()
        var graves: [(key: Key, record: Key)] = []
        try lmdb.read { (t) throws(StoreError) in
            try t.forEach(.graveyard, from: Key(1)) { (key, value) throws(StoreError) in
                _ = try GraveRow.decode(value, key: key)
                guard let epoch = Key.field(key, 0), let object = Key.field(key, 8), let record = Key.field(key, 16),
                    let part = Key.part(key, 24)
                else { return true }
                let isSeen = leases.contains { lease in
                    lease.epoch < epoch && record < lease.horizon && (lease.object == nil || lease.object!.rawValue == object)
                }
                if isSeen {
                    report.bytesPinned += try t.get(.records, Key(object, record).with(part))?.count ?? 0
                } else {
                    graves.append((Key(epoch, object, record).with(part), Key(object, record).with(part)))
                }
                return true
            }
        }
        guard !dryRun else { return }
        var start = 0
        while start < graves.count {
            let end = min(start + 512, graves.count)
            try exclusively { () throws(StoreError) in
                try lmdb.write { (t) throws(StoreError) in
                    for grave in graves[start..<end] {
                        try t.delete(.records, grave.record)
                        try t.delete(.graveyard, grave.key)
                    }
                }
            }
            Failpoint.pass("reclaim.buried")
            start = end
        }
    }
}
