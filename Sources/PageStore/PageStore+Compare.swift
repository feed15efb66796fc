public import VMTypes

extension PageStore {
    /// Compares `object` at two versions, which must be kept still (`.notRetained`) and hold the object (`.notFound`).
    ///
    /// Looks at the layers that one of the two has and the other lacks; at whole page tables only where these are of much of
    /// the object, or cut it off. Thread-safe.
    public func compare(_ object: ObjectID, _ before: Version, with after: Version) throws(StoreError) -> ObjectComparison {
        let pins = (before: try pinState(object, at: before), after: try pinState(object, at: after))
        if let few = try fewDifferences(object, before, after) {
            func view(_ table: PageTable, _ pin: Pin) -> ObjectView {
                ObjectView(store: self, object: object, version: table.version, table: table, pin: pin)
            }
            return ObjectComparison(
                view(few.before, pins.before), view(few.after, pins.after), pages: few.pages, partsOfBefore: few.partsOfBefore)
        }
        let old = ObjectView(store: self, object: object, version: before, table: try table(object, at: before), pin: pins.before)
        let new = ObjectView(store: self, object: object, version: after, table: try table(object, at: after), pin: pins.after)
        return ObjectComparison(old, new, pages: nil, partsOfBefore: 0)
    }

    /// The bytes of `object` at `version`, which must be kept still (`.notRetained`) and hold the object (`.notFound`). No page
    /// table is made for it.
    public func size(of object: ObjectID, at version: Version) throws(StoreError) -> UInt64 {
        let pin = try pinState(object, at: version)
        defer { withExtendedLifetime(pin) {} }
        // The young layers first: what is settled meanwhile is then seen twice rather than not at all.
        let (last, young, segments) = try state.withLock { (state) throws(StoreError) in
            let isLast = isWriter && state.last == version
            let info = isLast ? try state.metadata.object(object) : nil
            return (info, isLast ? [] : state.young, try self.segments(object, at: version, &state))
        }
        if let last, last.isLive { return last.size }
        return try lmdb.read { (t) throws(StoreError) in
            size(of: segments[0], try settledLayers(of: segments, t)[0], young[...])
        }
    }

    /// The size that a state has whose newest segment this is.
    private func size(of segment: Segment, _ layers: ArraySlice<SettledLayer>, _ young: ArraySlice<YoungRecord>) -> UInt64 {
        for record in young.within(segment.from, segment.through).reversed() {
            if let layer = record.layers.first(where: { $0.object == segment.object }) { return layer.size }
        }
        return layers.last?.row.size ?? segment.size
    }

    /// Page tables of the pages alone that have other places in two states.
    private struct FewDifferences {
        var before: PageTable
        var after: PageTable
        /// Those that differ in their bytes; ascending.
        var pages: [UInt32]
        var partsOfBefore: Int
    }

    /// nil where whole tables are to be compared.
    private func fewDifferences(_ object: ObjectID, _ before: Version, _ after: Version) throws(StoreError) -> FewDifferences? {
        while true {
            // A patch that recovery found must be told what it lies over; who makes a whole table does.
            if youngPages.hasUnlinked { return nil }
            // The young layers first: what is settled meanwhile is then seen twice rather than not at all.
            let (young, old, new) = try state.withLock { (state) throws(StoreError) in
                (state.young, try segments(object, at: before, &state), try segments(object, at: after, &state))
            }
            guard let fork = StateFork(old, new) else { return nil }
            let (found, meta) = try lmdb.read { (t) throws(StoreError) in
                guard let meta = try t.row(.meta, StoreMeta.key, StoreMeta.self) else {
                    throw StoreError(.damaged, "the page store has no meta row", path: lmdb.path)
                }
                let young = young[young.partitioningIndex { $0.version > meta.mark.settled }...]
                return (try differences(fork, (object, before, old), (object, after, new), young, meta, t), meta)
            }
            guard let found else { return nil }
            let accepted: Bool = state.wait { state in
                guard state.settled <= meta.mark.settled, state.epoch <= meta.epoch else { return false }
                // What is being folded now may be what is compared: wait and see whether it stays.
                if before > state.settled, state.mayLose(before, old) { return nil }
                if after > state.settled, state.mayLose(after, new) { return nil }
                state.others.removeAll { $0.table == nil }
                state.others.append(WeakTable(table: found.before))
                state.others.append(WeakTable(table: found.after))
                return true
            }
            if accepted { return found }
        }
    }

    /// Of so many pages as a fraction of the object whole tables are compared.
    private static let fewShare = 4

    private func differences(
        _ fork: StateFork, _ before: (object: ObjectID, version: Version, segments: [Segment]),
        _ after: (object: ObjectID, version: Version, segments: [Segment]), _ young: ArraySlice<YoungRecord>, _ meta: StoreMeta,
        _ t: LMDB.Transaction
    ) throws(StoreError) -> FewDifferences? {
        var rows: [ObjectID: SettledRows] = [:]
        let oldLayers = try settledLayers(of: before.segments, &rows, t)
        _ = try settledLayers(of: after.segments, &rows, t)
        let common = try settledLayers(of: fork.common, &rows, t)
        let size = size(of: fork.common[0], common[0], young)
        let pageCount = Page.count(forBytes: Int(clamping: size))
        let limit = max(LayerPart.maximumEntries, pageCount / Self.fewShare)
        guard let old = try pages(of: fork.before, over: size, rows, young, meta, limit, t),
            let new = try pages(of: fork.after, over: size, rows, young, meta, limit, t),
            // Of what has been cut off nothing tells which pages there were.
            min(old.floor, new.floor) >= pageCount
        else { return nil }
        let all = Set(old.slots.keys).union(new.slots.keys).sorted()
        var under: [UInt32: PageTable.Slot] = [:]
        var unknown: [UInt32] = []
        for page in all where old.slots[page] == nil || new.slots[page] == nil {
            if let slot = old.under[page] ?? new.under[page] { under[page] = slot } else { unknown.append(page) }
        }
        if !unknown.isEmpty {
            let found = try slots(of: unknown, in: fork.common, common, young: young, settled: meta.mark.settled, t)
            under.merge(found) { $1 }
        }
        var pages: [UInt32] = []
        var known: [UInt32] = [], oldSlots: [PageTable.Slot] = [], newSlots: [PageTable.Slot] = []
        for page in all {
            let a = old.slots[page] ?? under[page] ?? .zeros, b = new.slots[page] ?? under[page] ?? .zeros
            if a == b { continue }
            if !a.isSame(as: b) { pages.append(page) }
            // The same bytes at another place may be a layer's that goes out of use when the object goes back.
            known.append(page)
            oldSlots.append(a)
            newSlots.append(b)
        }
        typealias State = (object: ObjectID, version: Version, segments: [Segment])
        func table(_ state: State, _ size: UInt64, _ slots: [PageTable.Slot]) -> PageTable {
            PageTable(
                object: state.object, version: state.version, sources: Set(state.segments.map(\.object)),
                hasYoungPages: slots.contains { $0.place.isYoung },
                storage: PageTable.Storage(size: size, few: FewSlots(known, slots)))
        }
        return FewDifferences(
            before: table(before, old.size, oldSlots), after: table(after, new.size, newSlots), pages: pages,
            partsOfBefore: parts(of: before.segments, oldLayers, settled: meta.mark.settled, t))
    }

    /// Parts that whoever makes a state's page table reads.
    private func parts(of segments: [Segment], _ layers: [ArraySlice<SettledLayer>], settled: Version, _ t: LMDB.Transaction) -> Int {
        let base = firstCheckpoint(for: segments, settled: settled, t) { (segment: $0, through: $1.through) }
        var parts = 0
        for index in 0...(base?.segment ?? segments.count - 1) {
            for layer in layers[index] where base?.segment != index || layer.version > base!.through { parts += Int(layer.row.partCount) }
        }
        return parts
    }

    /// What the layers come to that a state has over what it has in common with another, which has `size` bytes; nil where they
    /// have more pages than `limit`.
    private func pages(
        of branches: [StateFork.Branch], over size: UInt64, _ rows: [ObjectID: SettledRows], _ young: ArraySlice<YoungRecord>, _ meta: StoreMeta,
        _ limit: Int, _ t: LMDB.Transaction
    ) throws(StoreError) -> BranchPages? {
        var pages = BranchPages(size: size)
        var left = limit
        for branch in branches.reversed() {
            let segment = branch.segment
            if branch.isWhole, segment.from != .zero {
                pages.size = segment.size
                pages.cut(from: Page.count(forBytes: Int(clamping: segment.size)))
            }
            for (version, row) in rows[segment.object]?.layers(of: segment) ?? [] where version >= branch.from {
                left -= Int(row.pageCount)
                guard left >= 0 else { return nil }
                pages.size = row.size
                if row.floorPage != .max { pages.cut(from: Int(row.floorPage)) }
                try forEachSlot(of: row, segment.object, t) { pages.lay($1, over: UInt32($0)) }
            }
            for record in young.within(branch.from, segment.through) {
                for layer in record.layers where layer.object == segment.object {
                    left -= layer.entries.count
                    guard left >= 0 else { return nil }
                    lay(layer, over: &pages, meta)
                }
            }
        }
        return pages
    }

    private func lay(_ layer: YoungLayer, over pages: inout BranchPages, _ meta: StoreMeta) {
        pages.size = layer.size
        if layer.floorPage != .max { pages.cut(from: Int(layer.floorPage)) }
        let isKnown = !layer.replaced.isEmpty && layer.replacedEpoch == meta.epoch
        for index in layer.entries.indices {
            let entry = layer.entries[index]
            let replaced = isKnown && isThere(layer.replaced[index].place, meta) ? layer.replaced[index] : nil
            pages.lay(
                PageTable.Slot(place: layer.places[index], checksum: entry.isZero ? 0 : entry.checksum), over: entry.page,
                replaced: replaced)
        }
    }

    /// Whether a place that was true in the present epoch is true still.
    private func isThere(_ place: Place, _ meta: StoreMeta) -> Bool {
        switch place.kind {
        case .zeros, .file: true
        // What has settled is in the file now.
        case .young: youngPages.isLive(place, from: meta.mark.position)
        case .unknown, .lost: false
        }
    }
}

extension PageTable.Slot {
    /// Whether two pages have the same bytes, by their checksums.
    func isSame(as other: PageTable.Slot) -> Bool {
        self == other || (place == .zeros) == (other.place == .zeros) && checksum == other.checksum
    }
}
