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
            var failure: StoreError?
            do throws(StoreError) { try takeOut(dryRun: dryRun, &report) } catch { failure = error }
            // What is out of use makes room, even where there was too little to merge more.
            try bury(dryRun: dryRun, &report)
            if let failure { throw failure }
        }
        return report
    }

    /// Settles; on a full disk, first frees what nobody sees, which takes next to no room.
    private func settleOrMakeRoom(_ report: inout ReclaimReport) throws(StoreError) {
        do throws(StoreError) { try settle() } catch {
            guard error.code == .full else { throw error }
            try mergingAlone { () throws(StoreError) in
                try dropDead(try exclusively { () throws(StoreError) in try liveness() }, dryRun: false, &report)
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
            guard let mine = try exclusively({ () throws(StoreError) in try liveness(of: object) })[object] else { return report }
            for layers in mine.liveGroups where layers.count > 1 {
                let group = LayerGroup(object: object, layers: layers)
                try merge(group, layers.indices, try owners(of: group), &report) { _ throws(StoreError) in try settleWhatWaits() }
            }
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

    /// Drops what nobody sees, and makes one layer of each group that holds anything dead.
    private func takeOut(dryRun: Bool, _ report: inout ReclaimReport) throws(StoreError) {
        let all = try exclusively { () throws(StoreError) in try liveness() }
        try dropDead(all, dryRun: dryRun, &report)
        for group in LayerGroup.groups(of: all) where group.layers.count > 1 {
            let total = group.layers.reduce(0) { $0 + Int($1.row.pageCount) }
            let owners = try owners(of: group)
            let kept = owners.entries.reduce(0, +)
            guard kept < total || total == 0 else { continue }
            if dryRun {
                report.layersMerged += group.layers.count
                report.bytesFreed += total * Page.size
                report.bytesRewritten += kept * Page.size
            } else {
                try merge(group, group.layers.indices, owners, &report) { _ throws(StoreError) in try settleWhatWaits() }
            }
        }
    }

    /// Takes layers that nobody sees out of use, and forgets objects of which nothing is left.
    func dropDead(_ all: [ObjectID: ObjectLiveness], dryRun: Bool, _ report: inout ReclaimReport) throws(StoreError) {
        for mine in all.values.sorted(by: { $0.object < $1.object }) where mine.isKnown {
            let (live, dead) = mine.groups()
            for group in dead where group.count > 1 || !mine.rows[group[0]].row.isGap {
                report.layersDropped += group.count { !mine.rows[$0].row.isGap }
                for index in group { report.bytesFreed += Int(mine.rows[index].row.pageCount) * Page.size }
                if !dryRun { try dropIfDead(mine.object, group.map { mine.rows[$0] }) }
            }
            if live.isEmpty, mine.views.isEmpty, !dryRun {
                try rearranging(.merging) { () throws(StoreError) in
                    // Somebody may have named a state that holds it since.
                    guard let now = try liveness(of: mine.object)[mine.object], now.views.isEmpty, now.rows.allSatisfy(\.row.isGap)
                    else { return }
                    try forget(mine.object)
                }
            }
        }
    }

    private func dropIfDead(_ object: ObjectID, _ rows: [(version: Version, row: VersionRow)]) throws(StoreError) {
        try rearranging(.merging) { () throws(StoreError) in
            let versions = Set(rows.map(\.version))
            guard let now = try liveness(of: object)[object],
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
            return (epoch, try correctCheckpoints(object, without: rows, with: [(last.version, gap)], [], t))
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
            for (version, _) in try Metadata.lineage(of: object, t).rows { try t.delete(.lineage, Key(object.rawValue, version.rawValue)) }
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
    func bury(dryRun: Bool, _ report: inout ReclaimReport) throws(StoreError) {
        let leases = try leases.all()
        var graves: [(key: Key, record: Key)] = []
        try lmdb.read { (t) throws(StoreError) in
            try t.forEach(.graveyard, from: Key(1)) { (key, value) throws(StoreError) in
                let last = try GraveRow.decode(value, key: key).lastVersion
                guard let epoch = Key.field(key, 0), let object = Key.field(key, 8), let record = Key.field(key, 16),
                    let part = Key.part(key, 24)
                else { return true }
                if !Mutant.isPlanted(.leasesIgnored),
                    leases.contains(where: { $0.pins(ObjectID(object), record: record, last: last, diedIn: epoch) })
                {
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
