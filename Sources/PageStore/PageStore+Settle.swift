internal import Glibc
internal import Synchronization
public import VMTypes

/// One layer on its way from the journal into the page store: what the young layers of one object between two
/// boundaries come to.
private struct FoldedLayer {
    var object: ObjectID
    var version: Version
    var first: Version
    var size: UInt64
    var floorPage: UInt32
    var time: Int64
    /// Not 0: the pages are in the page store already.
    var record: UInt64
    let fold = LayerFold()
}

extension PageStore {
    /// Moves every flushed layer from the journal to the page store, with the map changes and names of its commits, in
    /// one transaction; what it covers of the ring is free afterwards. Throws `.full` where the disk is: nothing is lost.
    public func settle() throws(StoreError) {
        try requireWriter()
        try flush()
        while try settleOnce() {}
    }

    /// Bytes of journal that one transaction takes at most, unless one record alone is larger.
    public static let batchBytes = 24 << 20

    /// Settles one batch; false where there was nothing to do. What lies in the last `newest` bytes of the journal stays there.
    @discardableResult
    func settleOnce(butFor newest: Int = 0) throws(StoreError) -> Bool {
        let done = try rearranging(.settling(folds: nil)) { () throws(StoreError) in try settleBatch(butFor: newest) }
        if done, let notify = onSettled.withLock({ $0 }) { notify() }
        return done
    }

    /// Runs `body` while nothing else settles, merges or stages.
    func exclusively<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        settling._unsafeLock()
        defer { settling._unsafeUnlock() }
        return try body()
    }

    /// Runs `body`, which moves layers, while nothing else does. What it is to keep is asked for in `body`.
    func rearranging<Result>(_ how: Rearrangement, _ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        try exclusively { () throws(StoreError) in
            state.withLock { $0.rearranging = how }
            defer {
                state.withLock { $0.rearranging = nil }
                state.wake()
            }
            return try body()
        }
    }

    /// Bytes of whole pages that one transaction writes at most, unless one record alone has more: patches become whole pages.
    private static let batchPages = batchBytes / Page.size

    private func settleBatch(butFor newest: Int) throws(StoreError) -> Bool {
        let candidates: [YoungRecord] = state.withLock { state in
            var end = 0
            while end < state.young.count, state.young[end].version <= state.flushed,
                newest == 0 || state.young[end].header.position + UInt64(newest) < state.head
            {
                let bytes = state.young[end].header.position + state.young[end].header.length - state.tail
                if end > 0 && bytes > UInt64(Self.batchBytes) { break }
                end += 1
            }
            return Array(state.young[..<end])
        }
        guard !candidates.isEmpty else { return false }
        let (folded, count) = try fold(candidates)
        state.withLock { state in
            let folds = Dictionary(grouping: folded, by: \.object).mapValues { $0.map { (first: $0.first, last: $0.version) } }
            state.rearranging = .settling(folds: folds)
        }
        // Who waits to know whether a state stays need not wait for the disk.
        state.wake()
        let batch = Array(candidates[..<count])
        let last = batch[count - 1]
        try checkSpace(for: folded)
        if youngPages.hasUnlinked { try linkYoungPages(of: folded) }
        let bytes = try RingBytes(journal, batch)
        Failpoint.pass("settle.begin")
        var meta = try PageStore.readMeta(lmdb)
        var moves: [(ObjectID, [Relocation])] = []
        let mark = JournalMark(
            settled: last.version, position: last.header.position + last.header.length, chain: last.header.checksum,
            last: last.version, lastPosition: last.header.position)
        if Mutant.isPlanted(.markBeforeLayers) {
            meta.mark = mark
            try lmdb.write { (t) throws(StoreError) in try t.put(.meta, StoreMeta.key, row: meta) }
        }
        try lmdb.write { (t) throws(StoreError) in
            for layer in Mutant.isPlanted(.layerLeftOut) && folded.count > 1 ? Array(folded.dropLast()) : folded {
                let relocations = try settle(layer, bytes, t)
                moves.append((layer.object, relocations))
                Failpoint.pass("settle.layer")
            }
            let kept = batch.count - Int(meta.retention.versions)
            for (index, record) in batch.enumerated() {
                // A commit of pages alone, which nobody named and policy does not keep, is not worth a row in the log.
                try settleOperations(record, isLogged: index >= kept || !record.operations.isEmpty, &meta, t)
            }
            meta.mark = mark
            let (record, id) = state.withLock { ($0.nextRecord, $0.nextID) }
            meta.nextRecord = max(meta.nextRecord, record)
            meta.nextID = max(meta.nextID, id)
            meta.clean = false
            try t.put(.meta, StoreMeta.key, row: meta)
        }
        Failpoint.pass("settle.committed")
        state.withLock { state in
            for (object, relocations) in moves {
                if !Mutant.isPlanted(.tablesNotTold) { state.relocate(object, relocations) }
                youngPages.relocate(relocations)
            }
            state.young.removeFirst(batch.count)
            state.settled = last.version
        }
        // Nobody comes upon these nodes any more; freeing hundreds of thousands of them would keep commits waiting. Until they are
        // freed they point to bytes in memory and in the ring.
        for record in batch { for layer in record.layers where layer.record == 0 { youngPages.remove(layer.places) } }
        state.withLock { state in
            var spare = state.spareBuffers.reduce(0) { $0 + $1.capacity }
            for case let bytes? in batch.map(\.bytes) where bytes.isSpare && spare + bytes.buffer.capacity <= ringBytes {
                state.spareBuffers.append(bytes.buffer)
                spare += bytes.buffer.capacity
            }
            state.tail = last.header.position + last.header.length
            state.settleFailure = nil
            // Whoever still waits for room is woken below, and wishes again.
            state.wantsSettling = false
            state.unmergedPages += folded.reduce(0) { $0 + $1.fold.count }
            for layer in folded {
                let parts = max(1, (layer.fold.count + LayerPart.maximumEntries - 1) / LayerPart.maximumEntries)
                state.partsToCheckpoint[layer.object, default: 0] += parts
            }
        }
        state.wake()
        Failpoint.pass("settle.published")
        return true
    }

    /// Folds layers: of versions between two boundaries only the newest bytes of a page go on. Answers how many of the records
    /// it took, the oldest: as many as come to the pages of one transaction.
    private func fold(_ batch: [YoungRecord]) throws(StoreError) -> (layers: [FoldedLayer], records: Int) {
        var layersOf: [ObjectID: [Version]] = [:]
        for record in batch { for layer in record.layers { layersOf[layer.object, default: []].append(record.version) } }
        let boundaries = try boundaries(of: layersOf, upTo: batch.last!.version)
        var open: [ObjectID: FoldedLayer] = [:]
        var folded: [FoldedLayer] = []
        var count = 0
        var pages = 0
        func earlier(_ layer: YoungLayer, _ version: Version) -> FoldedLayer? {
            guard let earlier = open[layer.object], layer.record == 0, earlier.record == 0,
                !(boundaries[layer.object] ?? []).contains(where: { $0 >= earlier.version && $0 < version })
            else { return nil }
            return earlier
        }
        for record in batch {
            for layer in record.layers where layer.record == 0 {
                if let fold = earlier(layer, record.version)?.fold {
                    pages += layer.entries.count { !fold.contains($0.page) }
                } else {
                    pages += layer.entries.count
                }
            }
            if count > 0, pages > Self.batchPages { break }
            count += 1
            for layer in record.layers {
                var current: FoldedLayer
                if let earlier = earlier(layer, record.version) {
                    current = earlier
                } else {
                    if let earlier = open[layer.object] { folded.append(earlier) }
                    current = FoldedLayer(
                        object: layer.object, version: record.version, first: record.version, size: layer.size,
                        floorPage: .max, time: record.header.time, record: layer.record)
                }
                current.version = record.version
                current.time = record.header.time
                current.size = layer.size
                if layer.floorPage != .max {
                    current.floorPage = min(current.floorPage, layer.floorPage)
                    current.fold.clear(from: layer.floorPage)
                }
                for index in layer.entries.indices { current.fold.add(layer.entries[index], layer.places[index]) }
                open[layer.object] = current
            }
        }
        folded.append(contentsOf: open.values)
        return (folded.sorted { ($0.object, $0.version) < ($1.object, $1.version) }, count)
    }

    /// The versions that no fold may cross, for each object: those at which somebody can still look at it.
    private func boundaries(of layers: [ObjectID: [Version]], upTo end: Version) throws(StoreError) -> [ObjectID: [Version]] {
        let leases = try leases.all()
        let now = Self.now()
        return try state.withLock { (state) throws(StoreError) in
            let young = state.young
            let (snapshots, retention) = try wanted(&state)
            var sources: [ObjectID: [Version]] = [:]
            var starts: [ObjectID: [Version]] = [:]
            for record in young {
                for case .lineage(let object, let source, let sourceVersion, _) in record.operations {
                    sources[source, default: []].append(sourceVersion)
                    starts[object, default: []].append(record.version.previous)
                }
            }
            var result: [ObjectID: [Version]] = [:]
            for (object, versions) in layers {
                var found = Mutant.isPlanted(.foldCrossesLineage) ? [] : (sources[object] ?? []) + (starts[object] ?? [])
                for snapshot in snapshots
                where (snapshot.object == nil || snapshot.object == object) && !Mutant.isPlanted(.foldCrossesSnapshots) {
                    found.append(snapshot.version)
                }
                for lease in leases where lease.object == nil || lease.object == object { found.append(lease.version) }
                for weak in state.others { if let table = weak.table, table.sources.contains(object) { found.append(table.version) } }
                // The newest versions of an object by policy; those that this batch settles are judged by all that are young.
                let all = young.filter { $0.layers.contains { $0.object == object } }.map(\.version)
                found.append(contentsOf: all.suffix(Int(retention.versions)))
                // And those that are the newest where a power cut takes what is not flushed.
                found.append(contentsOf: all.filter { $0 <= state.flushed }.suffix(Int(retention.versions)))
                if retention.seconds > 0 {
                    let horizon = now - Int64(retention.seconds) * 1_000_000_000
                    found.append(contentsOf: young.filter { $0.header.time >= horizon }.map(\.version))
                    if let older = young.last(where: { $0.header.time < horizon }) { found.append(older.version) }
                }
                found.append(end)
                result[object] = Array(Set(found.filter { $0 >= versions[0] && $0 <= end })).sorted()
            }
            return result
        }
    }

    /// The snapshots and the retention that either hold now or would again if a power cut took what is not flushed.
    func wanted(_ state: inout State) throws(StoreError) -> (snapshots: Set<SnapshotInfo>, retention: Retention) {
        var snapshots = Set(try state.metadata.snapshots())
        var retention = state.metadata.retention
        try lmdb.read { (t) throws(StoreError) in
            try t.forEach(.snapshots, from: Key()) { (key, value) throws(StoreError) in
                snapshots.insert(try SnapshotRow.decode(value, key: key).info)
                return true
            }
            if let settled = try t.row(.meta, StoreMeta.key, StoreMeta.self)?.retention {
                retention.versions = max(retention.versions, settled.versions)
                retention.seconds = max(retention.seconds, settled.seconds)
            }
        }
        for record in state.young {
            for operation in record.operations {
                switch operation {
                case .createSnapshot(let name, let version, let object, let message):
                    snapshots.insert(
                        SnapshotInfo(
                            name: name, version: version == .infinity ? record.version : version, object: object,
                            time: record.header.time, message: message))
                case .setRetention(let other):
                    retention.versions = max(retention.versions, other.versions)
                    retention.seconds = max(retention.seconds, other.seconds)
                default: break
                }
            }
        }
        return (snapshots, retention)
    }

    /// Refuses before LMDB would meet a full disk: its transaction and a reserve must fit.
    private func checkSpace(for folded: [FoldedLayer]) throws(StoreError) {
        let pages = folded.reduce(0) { $0 + ($1.record == 0 ? $1.fold.count : 0) }
        // Names, deletions and the like fit what the reserve keeps free: a full disk must not forbid them.
        if pages == 0 { return }
        try checkSpace(pages * Page.size * 5 / 4 + (1 << 20))
    }

    /// Free space that only deleting may use.
    static let reserveBytes = 1 << 20

    func checkSpace(_ bytes: Int) throws(StoreError) {
        let free = freeBytes(near: folder) + (try lmdb.usage().free)
        guard free >= bytes + Self.reserveBytes else {
            throw StoreError(
                .full, "\(bytes) bytes more are needed where \(free) are free", advice: "Free some space and try again",
                path: folder, errno: ENOSPC)
        }
    }

    /// Writes one layer's record and its version row; says where its pages went.
    private func settle(_ layer: FoldedLayer, _ bytes: RingBytes, _ t: LMDB.Transaction) throws(StoreError) -> [Relocation] {
        var moves: [Relocation] = []
        let pages = layer.fold.pages()
        var record = layer.record
        var partCount = 0
        if record == 0 {
            record = newRecord()
            var start = 0
            while start < pages.count {
                let end = min(start + LayerPart.maximumEntries, pages.count)
                let header = LayerPart.Header(
                    store: uuid, object: layer.object, record: record, part: UInt32(partCount), size: layer.size,
                    entries: pages[start..<end].map(\.entry))
                let value = try t.reserve(
                    .records, Key(layer.object.rawValue, record).with(header.part), count: header.valueSize)
                header.encode(to: value.baseAddress!)
                var destination = value.baseAddress! + LayerPart.headerSize
                var filePage = try t.filePage(of: UnsafeRawBufferPointer(value)) + 1
                for (entry, place) in pages[start..<end] where !entry.isZero {
                    try copy(entry, place, of: layer.object, to: destination, bytes)
                    moves.append(Relocation(page: Int(entry.page), from: place, to: .file(filePage)))
                    destination += Page.size
                    filePage += 1
                }
                partCount += 1
                start = end
            }
        } else {
            partCount = try unmarkStaged(layer.object, record, t)
        }
        let row = VersionRow(
            record: record, first: layer.first, size: layer.size, floorPage: layer.floorPage, partCount: UInt32(partCount),
            pageCount: UInt32(pages.count), time: layer.time)
        try putChained(.versions, Key(layer.object.rawValue, layer.version.rawValue), row, object: layer.object, t)
        return moves
    }

    /// Puts a young page together and checks it.
    ///
    /// Where what a patch lies over is damaged in the page store, or can't be read there, the page is lost: it settles as it is, so
    /// that its checksum goes on telling, and the journal does not stand still for it.
    private func copy(
        _ entry: PageEntry, _ place: Place, of object: ObjectID, to page: UnsafeMutableRawPointer, _ bytes: RingBytes
    ) throws(StoreError) {
        // The ring is what counts, should bytes in memory have been stored over.
        for usesMemory in [true, false] {
            guard let gathered = youngPages.gather(place, into: page, usesMemory: usesMemory) else {
                throw StoreError(.damaged, "a young page is settled already", path: journal.file.path)
            }
            for missing in gathered.missing {
                if usesMemory {
                    LineMask.unpack(missing.lines, of: missing.mask, from: try bytes.lines(missing), to: page)
                } else {
                    try readLines(missing, into: page)
                }
            }
            var isLost = false
            if gathered.covered != LineMask.all {
                isLost = try !readSettled(gathered.bottom, into: bytes.scratch)
                LineMask.copy(~gathered.covered, from: bytes.scratch.base, to: page)
            }
            if Checksum.of(UnsafeRawPointer(page), count: Page.size) == entry.checksum { return }
            if isLost, !usesMemory { return }
        }
        throw StoreError(
            .damaged, "page \(entry.page) of object \(object) is damaged in the journal",
            advice: "Restore a backup, or run `varve repair`", path: journal.file.path)
    }

    /// Reads what a patch lies over; false where that is damaged or unreadable, and `buffer` holds anything.
    private func readSettled(_ slot: PageTable.Slot, into buffer: AlignedBuffer) throws(StoreError) -> Bool {
        do throws(StoreError) { try readPlace(slot.place, into: buffer[0..<Page.size]) } catch {
            guard error.isLossOfBytes else { throw error }
            memset0(buffer.base, Page.size)
            return false
        }
        return slot.place == .zeros || Checksum.of(UnsafeRawPointer(buffer.base), count: Page.size) == slot.checksum
    }

    /// Says what patches that recovery found lie over, as far as the layers need it. The newest layers come first: what tells of
    /// them tells of most that is older.
    private func linkYoungPages(of folded: [FoldedLayer]) throws(StoreError) {
        for layer in folded.reversed() where layer.record == 0 {
            guard layer.fold.pages().contains(where: { !youngPages.isKnown($0.place) }) else { continue }
            // A read that fails once may have been bad luck.
            for isLast in [false, true] {
                do throws(StoreError) {
                    try linkYoungPages(of: layer.object, at: layer.version)
                    break
                } catch {
                    guard error.isLossOfBytes else { throw error }
                    // Where the object's layers can't be read, its patched pages are lost, and no other object's.
                    if isLast { loseYoungPages(of: layer.object, through: layer.version) }
                }
            }
        }
    }

    /// Puts a row whose absence must show, and enters it in its object's chain.
    func putChained<R: Row>(_ table: Table, _ key: Key, _ row: R, object: ObjectID, _ t: LMDB.Transaction) throws(StoreError) {
        var chain = try t.row(.chains, Key(object.rawValue), ChainRow.self) ?? ChainRow()
        if let old = try t.get(table, key) { chain.remove(key: key, value: [UInt8](old)) }
        let value = row.encoded(key: key)
        chain.add(key: key, value: value)
        try t.put(table, key, value)
        try t.put(.chains, Key(object.rawValue), row: chain)
    }

    func deleteChained(_ table: Table, _ key: Key, object: ObjectID, _ t: LMDB.Transaction) throws(StoreError) {
        guard let old = try t.get(table, key).map({ [UInt8]($0) }) else { return }
        var chain = try t.row(.chains, Key(object.rawValue), ChainRow.self) ?? ChainRow()
        chain.remove(key: key, value: old)
        try t.delete(table, key)
        try t.put(.chains, Key(object.rawValue), row: chain)
    }

    /// The record is named from now on; returns its number of parts.
    private func unmarkStaged(_ object: ObjectID, _ record: UInt64, _ t: LMDB.Transaction) throws(StoreError) -> Int {
        var parts: [UInt32] = []
        try t.forEach(.graveyard, from: Key(0, object.rawValue, record), prefix: 24) { (key, value) throws(StoreError) in
            _ = try GraveRow.decode(value, key: key)
            if let part = Key.part(key, 24) { parts.append(part) }
            return true
        }
        for part in parts { try t.delete(.graveyard, Key(0, object.rawValue, record).with(part)) }
        return parts.count
    }

    private func settleOperations(
        _ record: YoungRecord, isLogged: Bool, _ meta: inout StoreMeta, _ t: LMDB.Transaction
    ) throws(StoreError) {
        for operation in record.operations { try settle(operation, record, &meta, t) }
        guard isLogged, !Mutant.isPlanted(.outboxForgotten) else { return }
        let commit = CommitInfo(
            version: record.version, time: record.header.time, pages: record.layers.reduce(0) { $0 + $1.entries.count },
            operations: record.operations)
        try t.put(.outbox, Key(record.version.rawValue), row: OutboxRow(commit))
    }

    private func settle(_ operation: StoreOperation, _ record: YoungRecord, _ meta: inout StoreMeta, _ t: LMDB.Transaction)
        throws(StoreError)
    {
        func update(_ id: ObjectID, _ change: (inout ObjectInfo) -> Void) throws(StoreError) {
            guard var row = try t.row(.objects, Key(id.rawValue), ObjectRow.self) else { return }
            change(&row.info)
            try t.put(.objects, Key(id.rawValue), row: row)
        }
        func dropName(_ id: ObjectID) throws(StoreError) {
            guard let row = try t.row(.objects, Key(id.rawValue), ObjectRow.self), !row.info.name.isEmpty else { return }
            if try t.row(.names, Key(row.info.name), NameRow.self)?.object == id { try t.delete(.names, Key(row.info.name)) }
        }
        switch operation {
        case .createObject(let id, let name, let size, let residency):
            let info = ObjectInfo(
                id: id, name: name, size: size, residency: residency, born: record.version, died: .infinity)
            try t.put(.objects, Key(id.rawValue), row: ObjectRow(info))
            if !name.isEmpty { try t.put(.names, Key(name), row: NameRow(object: id)) }
            meta.nextID = max(meta.nextID, id.rawValue + 1)
        case .renameObject(let id, let name):
            try dropName(id)
            try update(id) { $0.name = name }
            if !name.isEmpty { try t.put(.names, Key(name), row: NameRow(object: id)) }
        case .resizeObject(let id, let size): try update(id) { $0.size = size }
        case .deleteObject(let id):
            try dropName(id)
            try update(id) { $0.died = record.version }
        case .lineage(let id, let source, let sourceVersion, let size):
            let row = LineageRow(source: source, sourceVersion: sourceVersion, size: size)
            try putChained(.lineage, Key(id.rawValue, record.version.rawValue), row, object: id, t)
            try update(id) { $0.size = size }
        case .createSnapshot(let name, let version, let object, let message):
            let info = SnapshotInfo(
                name: name, version: version == .infinity ? record.version : version, object: object,
                time: record.header.time, message: message)
            try t.put(.snapshots, Key(name), row: SnapshotRow(info))
        case .deleteSnapshot(let name): try t.delete(.snapshots, Key(name))
        case .renameSnapshot(let from, let to):
            guard var row = try t.row(.snapshots, Key(from), SnapshotRow.self) else { return }
            try t.delete(.snapshots, Key(from))
            row.info.name = to
            try t.put(.snapshots, Key(to), row: row)
        case .setRetention(let retention): meta.retention = retention
        case .mapChanges, .message: break
        }
    }
}
