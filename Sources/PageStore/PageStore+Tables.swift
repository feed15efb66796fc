internal import Synchronization
internal import VMTypes

extension PageStore {
    /// The page table of `object`'s last commit; made when it is first asked for, kept up by every commit after.
    func headTable(_ object: ObjectID) throws(StoreError) -> PageTable {
        while true {
            if let table = state.withLock({ $0.heads[object] }) { return table }
            let (through, table, settled, epoch, parts, links, _) = try build(object, at: .infinity)
            let accepted = state.withLock { state in
                if state.heads[object] != nil { return true }
                // A commit, a settling or a merge came between: what was built may lack it.
                guard state.last == through || state.young.last?.version ?? state.settled == through,
                    state.settled <= settled, state.epoch <= epoch
                else { return false }
                youngPages.link(links)
                state.heads[object] = table
                state.partsToCheckpoint[object] = max(parts, state.partsToCheckpoint[object] ?? 0)
                return true
            }
            if accepted { continue }
        }
    }

    /// The page table of `object` at `version`; `lease` holds what it names.
    func table(_ object: ObjectID, at version: Version) throws(StoreError) -> PageTable {
        if let copy = copyOfHead(object, at: version) { return copy }
        while true {
            let (_, table, settled, epoch, _, links, segments) = try build(object, at: version)
            let accepted: Bool = state.wait { state in
                guard state.settled <= settled, state.epoch <= epoch else { return false }
                // The settling that runs now was not told to keep this state: wait and see whether it did.
                if table.hasYoungPages, state.mayLose(version, segments) { return nil }
                youngPages.link(links)
                state.others.removeAll { $0.table == nil }
                state.others.append(WeakTable(table: table))
                return true
            }
            if accepted { return table }
        }
    }

    /// The last version's table, from the head's, which is in memory: no header is read. A settling that runs now keeps the
    /// head, and so this.
    private func copyOfHead(_ object: ObjectID, at version: Version) -> PageTable? {
        guard let head = state.withLock({ $0.last == version ? $0.heads[object] : nil }) else { return nil }
        head.readAll()
        return state.withLock { state in
            guard state.last == version, state.heads[object] === head else { return nil }
            let copy = head.copy(at: version)
            state.others.removeAll { $0.table == nil }
            state.others.append(WeakTable(table: copy))
            return copy
        }
    }

    /// Builds a table from a checkpoint, the headers of what settled later and, over them, the young layers. Answers through
    /// which version it knows commits, the settled version and epoch that its places are true for, and how many headers
    /// were read, what young patches lie over that were not linked yet (true as long as the places are), and what the state is made of. The chunks of a
    /// head that only the checkpoint knows are read when they are asked for.
    func build(_ object: ObjectID, at version: Version) throws(StoreError)
        -> (
            through: Version, table: PageTable, settled: Version, epoch: UInt64, parts: Int,
            links: [(patch: Place, under: PageTable.Slot)], segments: [Segment]
        )
    {
        // The young layers first: what is settled meanwhile is then seen twice rather than not at all.
        let (young, through, segments) = try state.withLock { (state) throws(StoreError) in
            let segments = try self.segments(object, at: version, &state)
            return (state.young, state.young.last?.version ?? state.settled, segments)
        }
        return try lmdb.read { (t) throws(StoreError) in
            let now = try t.row(.meta, StoreMeta.key, StoreMeta.self)
            guard let now else { throw StoreError(.damaged, "the page store has no meta row", path: lmdb.path) }
            var hasYoungPages = false
            var links: [(patch: Place, under: PageTable.Slot)] = []
            var (storage, _, parts) = try settledStorage(segments, settled: now.mark.settled, t) { segment, storage in
                storage.reserve(
                    young.reduce(0) { $0 + $1.layers.reduce(0) { $0 + ($1.object == segment.object ? $1.entries.count : 0) } })
                for record in young where record.version > now.mark.settled {
                    guard record.version >= segment.from, record.version <= segment.through else { continue }
                    for layer in record.layers where layer.object == segment.object {
                        apply(layer, to: &storage, &links)
                        hasYoungPages = true
                    }
                }
            }
            // Later checkpoints are of later states.
            if version != .infinity { storage.readAll() }
            let table = PageTable(
                object: object, version: version, sources: Set(segments.map(\.object)), hasYoungPages: hasYoungPages,
                storage: storage)
            return (through, table, now.mark.settled, now.epoch, parts, links, segments)
        }
    }

    /// What `segments` come to, as far as it is settled, from a checkpoint where one is true for them; `layOver` is called
    /// after each segment's settled layers. Answers the checkpoint too, and how many parts were read beside it.
    func settledStorage(
        _ segments: [Segment], settled: Version, _ t: LMDB.Transaction,
        layOver: (Segment, inout PageTable.Storage) -> Void = { _, _ in }
    ) throws(StoreError) -> (storage: PageTable.Storage, base: CheckpointBase?, parts: Int) {
        if let base = checkpoint(for: segments, settled: settled, t) {
            do throws(StoreError) {
                // A checkpoint does not tell that layers in it, or under it, have gone out of use since.
                if segments[0].through != .infinity { _ = try settledLayers(of: segments, t) }
                let (storage, parts) = try settledStorage(segments, over: base, t, layOver)
                return (storage, base, parts)
            } catch {
                guard error.code == .damaged else { throw error }
            }
        }
        let (storage, parts) = try settledStorage(segments, over: nil, t, layOver)
        return (storage, nil, parts)
    }

    private func settledStorage(
        _ segments: [Segment], over base: CheckpointBase?, _ t: LMDB.Transaction,
        _ layOver: (Segment, inout PageTable.Storage) -> Void
    ) throws(StoreError) -> (storage: PageTable.Storage, parts: Int) {
        let layers = try settledLayers(of: segments, above: base, t)
        var storage = base?.storage ?? PageTable.Storage()
        var parts = 0
        do throws(StoreError) {
            for index in layers.indices.reversed() {
                let segment = segments[index]
                if base?.segment != index, segment.from != .zero {
                    storage.size = segment.size
                    storage.clear(from: Page.count(forBytes: Int(clamping: segment.size)))
                }
                for layer in layers[index] { parts += try apply(layer.row, of: segment.object, to: &storage, t) }
                layOver(segment, &storage)
            }
        } catch {
            storage.deallocate()
            throw error
        }
        return (storage, parts)
    }

    /// What `segments` come to from their headers alone.
    func slotsFromHeaders(_ segments: [Segment]) throws(StoreError) -> SlotArray {
        try lmdb.read { (t) throws(StoreError) in try settledStorage(segments, over: nil, t) { _, _ in }.storage.slots }
    }

    private func apply(
        _ layer: YoungLayer, to storage: inout PageTable.Storage, _ links: inout [(patch: Place, under: PageTable.Slot)]
    ) {
        storage.size = layer.size
        if layer.floorPage != .max { storage.clear(from: Int(layer.floorPage)) }
        for (entry, place) in zip(layer.entries, layer.places) {
            // Only what recovery found is not linked: looking it up reads chunks of the checkpoint.
            if entry.isPatch, youngPages.isUnlinked(place) { links.append((place, storage[Int(entry.page)])) }
            storage.lay(PageTable.Slot(place: place, checksum: entry.isZero ? 0 : entry.checksum), over: Int(entry.page))
        }
    }

    /// Lays a settled layer over a table; answers how many parts it has.
    private func apply(_ row: VersionRow, of object: ObjectID, to storage: inout PageTable.Storage, _ t: LMDB.Transaction)
        throws(StoreError) -> Int
    {
        storage.size = row.size
        if row.floorPage != .max { storage.clear(from: Int(row.floorPage)) }
        return try forEachSlot(of: row, object, t) { storage.lay($1, over: $0) }
    }

    /// Calls `body` with each page of a settled layer, in the order of its parts, and where it is; answers how many parts there are.
    @discardableResult
    func forEachSlot(of row: VersionRow, _ object: ObjectID, _ t: LMDB.Transaction, _ body: (Int, PageTable.Slot) -> Void)
        throws(StoreError) -> Int
    {
        let parts = try forEachPart(of: object, record: row.record, t) { (header, firstPage) throws(StoreError) in
            header.forEachSlot(from: firstPage, body)
        }
        guard parts == Int(row.partCount) else {
            throw StoreError(
                .damaged, "record \(row.record) of object \(object) has \(parts) parts of \(row.partCount)",
                advice: "Run `varve verify`, then `varve repair`", path: lmdb.path)
        }
        return parts
    }
}

extension LayerPart.Header {
    /// Calls `body` with each page and where it is; `filePage` is the first that the part has in the file.
    func forEachSlot(from filePage: Int, _ body: (Int, PageTable.Slot) -> Void) {
        var filePage = filePage
        for entry in entries {
            if entry.isZero {
                body(Int(entry.page), .zeros)
            } else {
                body(Int(entry.page), PageTable.Slot(place: .file(filePage), checksum: entry.checksum))
                filePage += 1
            }
        }
    }
}
