package import VMTypes

/// When page tables are checkpointed, and how much at a time.
package struct CheckpointPolicy: Sendable {
    /// Parts that have settled since the last checkpoint of their object, after which a settling makes the next one; so many
    /// for each GiB of a larger object, since a checkpoint may have to write all its chunks.
    package var settledParts: Int
    /// The same, when the store is closed.
    package var closingParts: Int
    /// Chunks that one transaction writes.
    package var batch: Int

    package init(settledParts: Int = 128, closingParts: Int = 8, batch: Int = 256) {
        self.settledParts = settledParts
        self.closingParts = closingParts
        self.batch = batch
    }

    /// All that has settled is checkpointed at once, a chunk a transaction.
    package static let eager = CheckpointPolicy(settledParts: 1, closingParts: 1, batch: 1)
}

extension PageStore {
    /// Where the settled layers of a page table begin that are not in its checkpoint.
    struct CheckpointBase {
        /// The segment whose object was checkpointed, and whose later layers lie over it.
        var segment: Int
        var row: CheckpointRow
        var storage = PageTable.Storage()
    }

    /// The newest checkpoint that is true for a state, none of its chunks read; nil where there is none, or it is damaged.
    func checkpoint(for segments: [Segment], settled: Version, _ t: LMDB.Transaction) -> CheckpointBase? {
        firstCheckpoint(for: segments, settled: settled, t) { index, row in
            guard let storage = try? unread(row, Array(segments[index...]), t) else { return nil }
            return CheckpointBase(segment: index, row: row, storage: storage)
        }
    }

    /// Calls `take` with the rows of checkpoints that are true for a state and the segments that they begin with, newest first,
    /// until it answers something.
    func firstCheckpoint<Result>(
        for segments: [Segment], settled: Version, _ t: LMDB.Transaction, _ take: (Int, CheckpointRow) -> Result?
    ) -> Result? {
        guard usesCheckpoints else { return nil }
        // Those of one object have one row.
        var known: [ObjectID: CheckpointRow?] = [:]
        for (index, segment) in segments.enumerated() {
            if known[segment.object] == nil {
                // What is damaged is not missed: the headers say the same.
                known[segment.object] = .some(try? t.row(.checkpoints, CheckpointRow.key(segment.object), CheckpointRow.self))
            }
            guard let row = known[segment.object] ?? nil,
                row.through >= segment.from || Mutant.isPlanted(.staleCheckpoint), row.through <= segment.through, row.through <= settled,
                row.sources.count == segments.count - index, row.sources.elementsEqual(segments[index...].lazy.map(\.object)),
                let result = take(index, row)
            else { continue }
            return result
        }
        return nil
    }

    /// A page table of what a checkpoint holds; nil where one of its chunks is not what the row says.
    private func unread(_ row: CheckpointRow, _ segments: [Segment], _ t: LMDB.Transaction) throws(StoreError) -> PageTable.Storage? {
        let object = segments[0].object
        var unread: [Int: UnreadChunk] = [:]
        unread.reserveCapacity(row.chunks.count)
        var runs: [CheckpointRun] = []
        // LMDB's header and the head fill a page; read, it costs less than the fault that touching it would.
        let page = AlignedBuffer(capacity: Page.size)
        for chunk in row.chunks {
            guard let value = try t.get(.checkpoints, CheckpointRow.key(object, chunk: chunk.index)),
                value.count == CheckpointChunk.valueSize
            else { return nil }
            let filePage: Int
            if let mapped = t.mappedPage(of: value) { filePage = mapped } else { filePage = try t.filePage(of: value) }
            try pages.read(into: page[0..<Page.size], at: filePage << Page.shift)
            let first = runs.count
            guard page.base.load(as: UInt64.self) == UInt64(filePage),
                let sum = CheckpointChunk.head(
                    page.base + LMDBFile.headerSize, object: object, index: chunk.index, filePage: filePage, sum: chunk.sum,
                    runs: &runs)
            else { return nil }
            unread[Int(chunk.index)] = UnreadChunk(filePage: filePage, sum: sum, runs: first..<runs.count)
        }
        return PageTable.Storage(size: row.size, unread: unread, source: CheckpointSource(self, segments, runs: runs))
    }

    /// Checkpoints the objects of which enough has settled since the last time.
    package func checkpointWhereWorthwhile() throws(StoreError) {
        let policy = checkpointPolicy
        try checkpoint { parts, pages in parts >= policy.settledParts * max(1, pages >> (30 - Page.shift)) }
    }

    /// Checkpoints what the next opening would otherwise read from headers.
    func checkpointBeforeClosing() throws(StoreError) {
        let policy = checkpointPolicy
        try checkpoint { parts, _ in parts >= policy.closingParts }
    }

    private func checkpoint(where isDue: (_ parts: Int, _ pages: Int) -> Bool) throws(StoreError) {
        let least = min(checkpointPolicy.settledParts, checkpointPolicy.closingParts)
        let due = try state.withLock { (state) throws(StoreError) in
            var due: [ObjectID] = []
            for (object, parts) in state.partsToCheckpoint where parts >= least {
                let info = try state.metadata.object(object)
                if info?.isLive != true {
                    state.partsToCheckpoint[object] = nil
                } else if isDue(parts, Page.count(forBytes: Int(clamping: info!.size))) {
                    due.append(object)
                }
            }
            return due.sorted()
        }
        for object in due { try checkpoint(object) }
    }

    /// Writes down what has changed of an object's settled page table since its last checkpoint.
    ///
    /// In one transaction, or where that would be too large in several, between which the object has no checkpoint. Throws
    /// `.full` where the disk is: whatever else happens to a checkpoint, the headers it stands for are there.
    func checkpoint(_ object: ObjectID) throws(StoreError) {
        // Nothing but a merge changes what is settled.
        try mergingAlone { () throws(StoreError) in
            guard var plan = try exclusively({ () throws(StoreError) in try checkpointPlan(object) }) else { return }
            defer { plan.storage.deallocate() }
            let changed = plan.changed
            try checkSpace((changed.count * (CheckpointChunk.valueSize / Page.size + 1) + 64) * Page.size)
            for table in state.withLock({ $0.tables(of: object) }) { table.readAll() }
            var start = 0
            repeat {
                let end = min(start + checkpointPolicy.batch, changed.count)
                try exclusively { () throws(StoreError) in
                    try lmdb.write { (t) throws(StoreError) in
                        if start == 0, end < changed.count { try t.delete(.checkpoints, CheckpointRow.key(object)) }
                        for index in changed[start..<end] {
                            plan.sums[index] = try putChunk(plan.storage.slots.chunk(index), object, index, t)
                        }
                        if end == changed.count { try finish(plan, object, t) }
                    }
                }
                Failpoint.pass("checkpoint.written")
                start = end
            } while start < changed.count
            state.withLock { $0.partsToCheckpoint[object, default: 0] -= plan.parts }
        }
    }

    /// What a checkpoint is to hold.
    private struct CheckpointPlan {
        var row: CheckpointRow
        var storage: PageTable.Storage
        /// Chunks that have changed, ascending.
        var changed: [Int]
        /// The head's checksum of each chunk that is in the checkpoint.
        var sums: [Int: UInt64]
        /// Parts that had settled since the last checkpoint.
        var parts: Int
    }

    /// The settled page table of an object; nil where the object is gone.
    private func checkpointPlan(_ object: ObjectID) throws(StoreError) -> CheckpointPlan? {
        let parts = state.withLock { $0.partsToCheckpoint[object] ?? 0 }
        return try lmdb.read { (t) throws(StoreError) in
            guard let settled = try t.row(.meta, StoreMeta.key, StoreMeta.self)?.mark.settled,
                let info = try t.row(.objects, Key(object.rawValue), ObjectRow.self)?.info, info.isLive
            else { return nil }
            let segments = try segments(object, at: settled) { (id) throws(StoreError) in try Metadata.lineage(of: id, t) }
            let chain = try t.row(.chains, Key(object.rawValue), ChainRow.self) ?? ChainRow()
            var known: [Int: UInt64] = [:]
            let (storage, base, _) = try settledStorage(segments, settled: settled, t)
            if let base, base.segment == 0 { for chunk in base.row.chunks { known[Int(chunk.index)] = chunk.sum } }
            // A chunk that nothing has touched is still unread. Of another object's checkpoint there is nothing to keep.
            var all = storage
            if base?.segment != 0 { all.readAll() } else { all.readChanged() }
            let sums = known.filter { all.unread[$0.key] != nil }
            var changed = Set(known.keys).subtracting(sums.keys)
            for index in 0..<all.slots.chunkCount where all.slots.chunk(index) != nil { changed.insert(index) }
            let row = CheckpointRow(
                through: settled, size: all.size, chain: chain, sources: segments.map(\.object), chunks: [])
            return CheckpointPlan(row: row, storage: all, changed: changed.sorted(), sums: sums, parts: parts)
        }
    }

    /// Puts a chunk's row and answers its head's checksum; a chunk of zeros has none.
    private func putChunk(_ slots: UnsafePointer<PageTable.Slot>?, _ object: ObjectID, _ index: Int, _ t: LMDB.Transaction)
        throws(StoreError) -> UInt64?
    {
        let key = CheckpointRow.key(object, chunk: UInt32(index))
        guard let slots, (0..<CheckpointChunk.pages).contains(where: { slots[$0] != .zeros }) else {
            try t.delete(.checkpoints, key)
            return nil
        }
        let value = try t.reserve(.checkpoints, key, count: CheckpointChunk.valueSize)
        return CheckpointChunk.encode(
            slots, object: object, index: UInt32(index), filePage: try t.filePage(of: UnsafeRawBufferPointer(value)),
            to: value.baseAddress!)
    }

    /// Puts the row that makes the chunks count, and deletes what it does not name.
    private func finish(_ plan: CheckpointPlan, _ object: ObjectID, _ t: LMDB.Transaction) throws(StoreError) {
        var row = plan.row
        row.chunks = plan.sums.map { CheckpointRow.Chunk(index: UInt32($0.key), sum: $0.value) }.sorted { $0.index < $1.index }
        try deleteChunks(object, t) { plan.sums[Int($0)] == nil }
        try t.put(.checkpoints, CheckpointRow.key(object), row: row)
    }

    private func deleteChunks(_ object: ObjectID, _ t: LMDB.Transaction, where isUnused: (UInt32) -> Bool) throws(StoreError) {
        var unused: [UInt32] = []
        try t.forEach(.checkpoints, from: Key(object.rawValue), prefix: 8) { (key, _) throws(StoreError) in
            if let index = Key.part(key, 8), isUnused(index) { unused.append(index) }
            return true
        }
        for index in unused { try t.delete(.checkpoints, CheckpointRow.key(object, chunk: index)) }
    }

    /// Deletes an object's checkpoint.
    func deleteCheckpoint(_ object: ObjectID, _ t: LMDB.Transaction) throws(StoreError) {
        try t.delete(.checkpoints, CheckpointRow.key(object))
        try deleteChunks(object, t) { _ in true }
    }

    /// Deletes all checkpoints: the file's pages are elsewhere now.
    static func deleteCheckpoints(_ t: LMDB.Transaction) throws(StoreError) {
        var keys: [Key] = []
        try t.forEach(.checkpoints, from: Key()) { (key, _) throws(StoreError) in
            keys.append(Key(bytes: key))
            return true
        }
        for key in keys { try t.delete(.checkpoints, key) }
    }
}

/// What a change of settled layers meant for checkpoints.
struct CorrectedCheckpoints {
    /// Objects whose checkpoint had to be given up.
    var dropped: [ObjectID] = []
    /// The new layer is in its own object's checkpoint.
    var holdsLayer = false
}

extension State {
    /// Notes what the next checkpoint will have to hold after a merged layer of `parts` parts was made.
    mutating func note(_ checkpoints: CorrectedCheckpoints, _ object: ObjectID, parts: Int) {
        if !checkpoints.holdsLayer { partsToCheckpoint[object, default: 0] += parts }
        for object in checkpoints.dropped { partsToCheckpoint[object, default: 0] += 1 << 32 }
    }
}

extension PageStore {
    /// Keeps the checkpoints true, in the transaction that puts rows, the first of them a merged layer's or a gap, in the
    /// place of others.
    func correctCheckpoints(
        _ object: ObjectID, without old: [(version: Version, row: VersionRow)], with new: [(version: Version, row: VersionRow)],
        _ moves: [Relocation], _ t: LMDB.Transaction
    ) throws(StoreError) -> CorrectedCheckpoints {
        var concerned: [(object: ObjectID, row: CheckpointRow?)] = []
        try t.forEach(.checkpoints, from: Key(0), prefix: 8) { (key, value) throws(StoreError) in
            let id = ObjectID(Key.field(key, 8) ?? 0)
            // One that cannot be read may be of the object.
            guard let row = try? CheckpointRow.decode(value, key: key) else {
                concerned.append((id, nil))
                return true
            }
            if row.sources.contains(object) { concerned.append((id, row)) }
            return true
        }
        var result = CorrectedCheckpoints()
        for (id, row) in concerned {
            if var row, try correct(&row, of: id, object, without: old, with: new, moves, t) {
                try t.put(.checkpoints, CheckpointRow.key(id), row: row)
                if id == object { result.holdsLayer = new[0].version <= row.through }
            } else {
                try t.delete(.checkpoints, CheckpointRow.key(id))
                result.dropped.append(id)
            }
        }
        return result
    }

    /// False where the checkpoint of `id` is not to be corrected: it is damaged, or too much of it has changed.
    private func correct(
        _ row: inout CheckpointRow, of id: ObjectID, _ object: ObjectID, without old: [(version: Version, row: VersionRow)],
        with new: [(version: Version, row: VersionRow)], _ moves: [Relocation], _ t: LMDB.Transaction
    ) throws(StoreError) -> Bool {
        if id == object {
            func key(_ version: Version) -> Key { Key(object.rawValue, version.rawValue) }
            for (version, old) in old where version <= row.through {
                row.chain.remove(key: key(version), value: old.encoded(key: key(version)))
            }
            for (version, new) in new where version <= row.through {
                row.chain.add(key: key(version), value: new.encoded(key: key(version)))
            }
            if new[0].version > row.through, row.sources.count == 1 {
                // The layer is put over the checkpoint, whatever that says of its pages.
                return true
            }
        }
        var changes: [Int: [Relocation]] = [:]
        for move in moves { changes[move.page >> CheckpointChunk.shift, default: []].append(move) }
        guard changes.count <= checkpointPolicy.batch else { return false }
        let slots = UnsafeMutablePointer<PageTable.Slot>.allocate(capacity: CheckpointChunk.pages)
        defer { slots.deallocate() }
        for index in row.chunks.indices {
            let chunk = row.chunks[index]
            guard let moves = changes[Int(chunk.index)] else { continue }
            var runs: [CheckpointRun] = []
            guard let value = try t.get(.checkpoints, CheckpointRow.key(id, chunk: chunk.index)),
                value.count == CheckpointChunk.valueSize, let head = value.baseAddress,
                let sum = CheckpointChunk.head(
                    head, object: id, index: chunk.index, filePage: try t.filePage(of: value), sum: chunk.sum, runs: &runs)
            else { return false }
            UnsafeMutableRawPointer(slots).copyMemory(
                from: value.baseAddress! + CheckpointChunk.headSize, byteCount: CheckpointChunk.slotBytes)
            guard Checksum.of(UnsafeRawPointer(slots), count: CheckpointChunk.slotBytes) == sum else { return false }
            var isChanged = false
            for move in moves
            where slots[move.page & (CheckpointChunk.pages - 1)].place == move.from && !Mutant.isPlanted(.checkpointNotCorrected) {
                slots[move.page & (CheckpointChunk.pages - 1)].place = move.to
                isChanged = true
            }
            guard isChanged, let sum = try putChunk(slots, id, Int(chunk.index), t) else { continue }
            row.chunks[index].sum = sum
        }
        return true
    }
}
