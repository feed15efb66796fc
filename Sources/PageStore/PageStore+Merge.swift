package import VMTypes

/// Layers of one object between which nobody looks, oldest first.
struct LayerGroup {
    var object: ObjectID
    var layers: [ObjectLiveness.Layer]

    /// The live groups of all objects, in order.
    static func groups(of all: [ObjectID: ObjectLiveness]) -> [LayerGroup] {
        all.values.sorted { $0.object < $1.object }.filter(\.isKnown).flatMap { mine in
            mine.liveGroups.map { LayerGroup(object: mine.object, layers: $0) }
        }
    }

    var records: [UInt64] { layers.map(\.row.record) }
}

extension PageStore {
    /// Merges the emptiest layers where all of them take more than policy allows, and buries what is out of use. Looks only
    /// once a part of the file's size has been settled since the last time.
    package func mergeWhereWorthwhile() throws(StoreError) {
        let settled = state.withLock { $0.unmergedPages }
        guard settled >= mergePolicy.settledPages else { return }
        let usage = try lmdb.usage()
        guard settled >= (usage.used - usage.free) / Page.size / Self.looksAFile else { return }
        state.withLock { $0.unmergedPages = 0 }
        try mergingAlone { () throws(StoreError) in
            var report = ReclaimReport()
            var failure: StoreError?
            do throws(StoreError) {
                let all = try exclusively { () throws(StoreError) in try liveness() }
                try dropDead(all, dryRun: false, &report)
                try mergeEmptiest(LayerGroup.groups(of: all), &report)
            } catch { failure = error }
            // What is out of use makes room, even where there was too little to merge.
            try bury(dryRun: false, &report)
            if let failure { throw failure }
        }
    }

    /// How often layers are looked at while as many bytes settle as are in use.
    private static let looksAFile = 48
    /// Owners are kept for the next look where a group takes so many times their memory.
    private static let ownersShare = 64
    /// Pages whose copying takes as long as what else a run of layers costs.
    private static let runCost = 256
    /// Bytes that must have gone out of use before they are buried ahead of the next run: burying costs flushes too.
    private static let buriedAtOnce = 16 << 20

    private func mergeEmptiest(_ groups: [LayerGroup], _ report: inout ReclaimReport) throws(StoreError) {
        let before = surveyed
        surveyed = LayerSurvey(leases: before.leases)
        let held = try leases.all()
        // One that was not there the last time may be of a moment: nothing is left alone for it.
        let leases = held.filter(before.leases.contains)
        var survey = LayerSurvey(leases: Set(held))
        var uses: [[LayerUse]] = []
        var kept: [Int: PageOwners] = [:]
        for (index, group) in groups.enumerated() {
            let isNewest = index + 1 == groups.count || groups[index + 1].object != group.object
            var found: [LayerUse]
            if let known = before.uses[group.records] {
                found = known
            } else {
                let owners = group.layers.count > 1 ? try self.owners(of: group, from: before) : nil
                found = group.layers.indices.map { LayerUse(group.layers[$0].row, $0, owners) }
                if isNewest, let owners, owners.byteCount <= found.reduce(0, { $0 + $1.taken }) * Page.size / Self.ownersShare {
                    kept[index] = owners
                }
            }
            if kept[index] == nil { survey.uses[group.records] = found }
            for layer in found.indices {
                found[layer].isPinned = leases.contains {
                    $0.pins(group.object, record: group.layers[layer].row.record, last: group.layers[layer].version, diedIn: .max)
                }
            }
            uses.append(found)
        }
        let runs = mergePolicy.runs(of: uses)
        var copied = 0
        var buried = report.bytesFreed
        for (index, group) in groups.enumerated() {
            let isMerged = runs.contains { $0.group == index }
            guard isMerged || kept[index] != nil else { continue }
            let owners: PageOwners
            if let known = kept[index] { owners = known } else { owners = try self.owners(of: group) }
            var merged: [(run: Range<Int>, record: UInt64)] = []
            // Oldest first: what is checked before a run takes another's place are the layers after it.
            for run in runs where run.group == index {
                let record = try merge(group, run.layers, owners, &report) { (pages) throws(StoreError) in
                    copied += pages
                    try settleWhatWaits(copied: copied)
                }
                if let record { merged.append((run.layers, record)) }
                // A run of layers with little in them costs its transactions all the same.
                copied += Self.runCost
                // What later runs copy goes where this one's layers were.
                guard report.bytesFreed - buried >= Self.buriedAtOnce else { continue }
                try bury(dryRun: false, &report)
                buried = report.bytesFreed
            }
            guard kept[index] != nil else {
                if !merged.isEmpty { survey.uses[group.records] = nil }
                continue
            }
            var records = group.records
            for (run, record) in merged.reversed() {
                owners.join(run)
                records.replaceSubrange(run, with: [record])
            }
            survey.groups[records[0]] = LayerSurvey.Group(records: records, owners: owners)
        }
        surveyed = survey
    }

    /// Settles where the ring fills, as `settleWhatWaits`, but a quarter of what has been copied: a long merge that lets in more
    /// would take more space than it frees. Commits wait meanwhile, where the ring is full.
    private func settleWhatWaits(copied: Int) throws(StoreError) {
        if state.withLock({ $0.unmergedPages }) * 4 <= copied { try settleWhatWaits() }
    }

    /// Which layer of a group has each page newest. Only merging changes settled layers: no gate is needed.
    func owners(of group: LayerGroup) throws(StoreError) -> PageOwners {
        let owners = PageOwners()
        try add(group.layers[...], of: group.object, to: owners)
        return owners
    }

    private func add(_ layers: ArraySlice<ObjectLiveness.Layer>, of object: ObjectID, to owners: PageOwners) throws(StoreError) {
        for layer in layers {
            owners.beginLayer(floor: layer.row.floorPage)
            try forEachEntry(of: object, layer.row) { entry, _ in owners.add(entry) }
        }
    }

    /// The same, found from what the last survey knew of a group where only layers have come since.
    private func owners(of group: LayerGroup, from survey: LayerSurvey) throws(StoreError) -> PageOwners {
        guard let known = survey.groups[group.layers[0].row.record], group.records.starts(with: known.records) else {
            return try owners(of: group)
        }
        try add(group.layers[known.records.count...], of: group.object, to: known.owners)
        return known.owners
    }

    /// Calls `body` with each entry of a layer, and the page of the file that it is at, or would be next.
    private func forEachEntry(of object: ObjectID, _ row: VersionRow, _ body: (PageEntry, Int) -> Void) throws(StoreError) {
        try lmdb.read { (t) throws(StoreError) in
            let parts = try forEachPart(of: object, record: row.record, t) { (header, first) throws(StoreError) in
                var page = first
                for entry in header.entries {
                    body(entry, page)
                    if !entry.isZero { page += 1 }
                }
            }
            guard parts == Int(row.partCount) else {
                throw StoreError(
                    .damaged, "record \(row.record) of object \(object) has \(parts) parts of \(row.partCount)",
                    advice: "Run `varve verify`, then `varve repair`", path: lmdb.path)
            }
        }
    }

    /// Writes one layer of what lives in a run of a group's layers, in page order, and takes the run out of use.
    ///
    /// What a later layer of the group has again is dead, though the run does not hold that layer: nobody looks in between,
    /// and nobody can afterwards. Returns the new record's number; nil where somebody had begun to look.
    @discardableResult
    func merge(
        _ group: LayerGroup, _ run: Range<Int>, _ owners: PageOwners, _ report: inout ReclaimReport,
        betweenSteps: (_ pages: Int) throws(StoreError) -> Void
    ) throws(StoreError) -> UInt64? {
        let object = group.object
        let fold = LayerFold()
        var through = run.upperBound - 1
        for index in run {
            try forEachEntry(of: object, group.layers[index].row) { entry, page in
                let owner = owners.owner(of: entry.page)
                if owner == index, !(entry.isZero && Mutant.isPlanted(.mergeForgetsZeros)) { fold.add(entry, .file(page)) }
                through = max(through, owner ?? group.layers.count - 1)
            }
        }
        let pages = fold.pages()
        report.layersMerged += run.count
        report.bytesFreed += group.layers[run].reduce(0) { $0 + Int($1.row.pageCount) } * Page.size
        report.bytesRewritten += pages.count * Page.size
        try checkSpace(pages.count * Page.size * 5 / 4 + (1 << 20))
        let record = newRecord()
        var moves: [Relocation] = []
        var parts: UInt32 = 0
        var isNamed = false
        defer { if !isNamed { discard(object: object, record: record, parts: parts) } }
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
                        moves += try copyPart(object, record, parts, Array(pages[first..<last]), t)
                        parts += 1
                        first = last
                    }
                }
            }
            Failpoint.pass("merge.part")
            try betweenSteps(end - start)
            start = end
        }
        isNamed = try rearranging(.merging) { () throws(StoreError) in
            // Somebody may have begun to look at a state in between while the pages were copied.
            guard let now = try rows(of: object, ifOneGroup: group.layers[run.lowerBound...through].map(\.version)) else { return false }
            let old = Array(now[..<run.count])
            var new = [old.last!]
            new[0].row.record = record
            new[0].row.first = old.map(\.row.first).min()!
            new[0].row.floorPage = Mutant.isPlanted(.mergeForgetsCut) ? .max : old.map(\.row.floorPage).min()!
            new[0].row.partCount = parts
            new[0].row.pageCount = UInt32(pages.count)
            guard var last = now[run.count...].last else {
                try replace(object, old, by: new, moves)
                return true
            }
            // Up to here the merged layer lacks what later ones have again.
            last.row.first = min(last.row.first, new[0].version)
            try replace(object, old + [now.last!], by: new + [last], moves)
            return true
        }
        return isNamed ? record : nil
    }

    /// The present rows of `versions`, where nobody looks between them.
    private func rows(of object: ObjectID, ifOneGroup versions: [Version]) throws(StoreError) -> [ObjectLiveness.Layer]? {
        guard let now = try liveness(of: object)[object] else { return nil }
        let wanted = Set(versions)
        return now.liveGroups.map { $0.filter { wanted.contains($0.version) } }.first { $0.count == versions.count }
    }

    /// Settles where the ring fills: whoever merges in the background is the one who would, and waits for who merges otherwise.
    func settleWhatWaits() throws(StoreError) {
        if hasMuchToSettle { _ = try settleAhead() }
    }

    /// Puts version rows, the first of them the merged record's, in the place of others, and tells the page tables where the
    /// pages are now.
    private func replace(
        _ object: ObjectID, _ old: [ObjectLiveness.Layer], by new: [ObjectLiveness.Layer], _ moves: [Relocation]
    ) throws(StoreError) {
        // They read what the checkpoint holds of them before it changes.
        for table in state.withLock({ $0.tables(of: object) }) { table.readAll() }
        let merged = new[0].row
        let kept = Set(new.dropFirst().map(\.version))
        let (epoch, checkpoints) = try lmdb.write { (t) throws(StoreError) in
            try saveCounters(t)
            let epoch = try nextEpoch(t)
            for layer in old where !kept.contains(layer.version) { try takeOut(object, layer, epoch, t) }
            for layer in new {
                try putChained(.versions, Key(object.rawValue, layer.version.rawValue), layer.row, object: object, t)
            }
            for part in 0..<merged.partCount { try t.delete(.graveyard, Key(0, object.rawValue, merged.record).with(part)) }
            return (epoch, try correctCheckpoints(object, without: old, with: new, moves, t))
        }
        Failpoint.pass("merge.committed")
        state.withLock { state in
            state.epoch = epoch
            state.relocate(object, moves)
            state.note(checkpoints, object, parts: Int(merged.partCount))
        }
        youngPages.relocateSettled(moves)
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

    func nextEpoch(_ t: LMDB.Transaction) throws(StoreError) -> UInt64 {
        guard var meta = try t.row(.meta, StoreMeta.key, StoreMeta.self) else {
            throw StoreError(.damaged, "the page store has no meta row", path: lmdb.path)
        }
        meta.epoch += 1
        try t.put(.meta, StoreMeta.key, row: meta)
        return meta.epoch
    }

    /// Takes a version row away and puts its record's parts into the graveyard.
    func takeOut(_ object: ObjectID, _ entry: (version: Version, row: VersionRow), _ epoch: UInt64, _ t: LMDB.Transaction)
        throws(StoreError)
    {
        try deleteChained(.versions, Key(object.rawValue, entry.version.rawValue), object: object, t)
        for part in 0..<entry.row.partCount {
            if Mutant.isPlanted(.recordDeletedAtOnce) {
                try t.delete(.records, Key(object.rawValue, entry.row.record).with(part))
                continue
            }
            try t.put(
                .graveyard, Key(epoch, object.rawValue, entry.row.record).with(part), row: GraveRow(lastVersion: entry.version))
        }
    }
}
