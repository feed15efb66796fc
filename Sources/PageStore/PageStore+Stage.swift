internal import Glibc
public import VMTypes

/// Puts an object's pages into the page store ahead of the commit that names them: for imports and for commits that the
/// journal's ring is too small for.
///
/// The record's parts go in by bounded transactions, each with a mark that nothing names them yet; a crash leaves parts
/// that the next opening deletes. One thread uses a stage.
public final class Stage {
    private let store: PageStore
    private let object: ObjectID
    private var record: UInt64 = 0
    private var parts: UInt32 = 0
    private var entries: [PageEntry] = []
    private var places: [Place] = []
    private let buffer = AlignedBuffer(capacity: LayerPart.maximumEntries * partsATransaction * Page.size)
    private var pending: [PageEntry] = []
    private var pendingBytes = 0
    /// The page that was added last.
    private var lastPage = -1
    private var isFinished = false

    /// Parts that one transaction writes: about 12 MiB.
    private static let partsATransaction = 16

    init(store: PageStore, object: ObjectID) {
        self.store = store
        self.object = object
    }

    deinit { if !isFinished { store.discard(object: object, record: record, parts: parts) } }

    /// Copies one page. `bytes` are `Page.size` bytes. Throws `.invalid` where it does not come behind those before it: whoever looks
    /// for a page in a part counts on their order.
    public func add(page: Int, _ bytes: UnsafeRawPointer, size: UInt64) throws(StoreError) {
        try add(page: page, bytes, size: size) { _, _ in false }
    }

    /// As above, but for a page that `isUnchanged` affirms, given its checksum and its copied bytes.
    func add(
        page: Int, _ bytes: UnsafeRawPointer, size: UInt64, unless isUnchanged: (UInt64, UnsafeRawPointer) -> Bool
    ) throws(StoreError) {
        guard page > lastPage else {
            throw StoreError(.invalid, "page \(page) of object \(object) was added after page \(lastPage)", advice: "Give pages in ascending order")
        }
        lastPage = page
        let destination = buffer.base + pendingBytes
        memcpy(destination, bytes, Page.size)
        let tail = Int(size) - page * Page.size
        if tail < Page.size { memset0(destination + max(tail, 0), Page.size - max(tail, 0)) }
        let sum = Checksum.of(UnsafeRawPointer(destination), count: Page.size)
        if isUnchanged(sum, destination) { return }
        if sum == Checksum.zeroPage, isZeroPage(destination) {
            pending.append(PageEntry(page: UInt32(page), mask: PageEntry.zeros, checksum: sum))
        } else {
            pending.append(PageEntry(page: UInt32(page), mask: PageEntry.wholePage, checksum: sum))
            pendingBytes += Page.size
        }
        if pending.count == LayerPart.maximumEntries * Self.partsATransaction { try write() }
    }

    private func write() throws(StoreError) {
        guard !pending.isEmpty else { return }
        try store.checkSpace(pendingBytes * 5 / 4 + (1 << 20))
        // A store that says it was closed is not searched for parts without a name.
        try store.markDirty()
        if record == 0 { record = store.newRecord() }
        var written: [Place] = []
        var part = parts
        try store.exclusively { () throws(StoreError) in
            try store.lmdb.write { (t) throws(StoreError) in
                try store.saveCounters(t)
                var source = UnsafeRawPointer(buffer.base)
                var start = 0
                while start < pending.count {
                    let end = min(start + LayerPart.maximumEntries, pending.count)
                    let header = LayerPart.Header(
                        store: store.uuid, object: object, record: record, part: part, size: 0,
                        entries: Array(pending[start..<end]))
                    let key = Key(object.rawValue, record).with(part)
                    try t.put(
                        .graveyard, Key(0, object.rawValue, record).with(part), row: GraveRow(lastVersion: .infinity))
                    let value = try t.reserve(.records, key, count: header.valueSize)
                    header.encode(to: value.baseAddress!)
                    let bytes = header.valueSize - LayerPart.headerSize
                    memcpy(value.baseAddress! + LayerPart.headerSize, source, bytes)
                    source += bytes
                    var filePage = try t.filePage(of: UnsafeRawBufferPointer(value)) + 1
                    for entry in header.entries {
                        written.append(entry.isZero ? .zeros : .file(filePage))
                        if !entry.isZero { filePage += 1 }
                    }
                    part += 1
                    start = end
                }
            }
        }
        Failpoint.pass("stage.committed")
        parts = part
        entries.append(contentsOf: pending)
        places.append(contentsOf: written)
        pending.removeAll(keepingCapacity: true)
        pendingBytes = 0
    }

    /// The layer to commit; nil where it holds no page.
    func finish(size: UInt64, floorPage: UInt32) throws(StoreError) -> (layer: JournalLayer, places: [Place])? {
        try write()
        guard !entries.isEmpty else { return nil }
        return (
            JournalLayer(object: object, size: size, floorPage: floorPage, record: record, entries: entries), places
        )
    }

    /// The commit that names the record is in the journal, or may be.
    func keep() { isFinished = true }
}

extension PageStore {
    /// Begins to take pages of `object` ahead of their commit.
    public func stage(_ object: ObjectID) throws(StoreError) -> Stage {
        try requireWriter()
        return Stage(store: self, object: object)
    }

    /// Commits what `stage` holds, as one layer of its object, with `operations`.
    ///
    /// From `floorPage` on, pages that the layer does not hold are gone, where it holds any.
    ///
    /// Page entries of a very large object (20 bytes a page) must fit the journal: a third of the ring.
    public func commit(
        _ stage: Stage, size: UInt64, floorPage: UInt32 = .max, operations: [StoreOperation], durability: Durability = .synced
    ) throws(StoreError) -> Version {
        let layer = try stage.finish(size: size, floorPage: floorPage)
        do throws(StoreError) {
            let version = try commit([], staged: layer.map { [$0] } ?? [], operations: operations, durability: durability)
            stage.keep()
            return version
        } catch {
            if error.code == .unknownOutcome { stage.keep() }
            throw error
        }
    }

    /// A commit larger than the ring takes: its pages go to the page store first, a small record decides.
    func commitLarge(
        _ inputs: [LayerInput], staged: [(layer: JournalLayer, places: [Place])], operations: [StoreOperation],
        durability: Durability
    ) throws(StoreError) -> Version {
        var stages: [Stage] = []
        var layers = staged
        let committed = CommittedPages(self, inputs, operations)
        for (index, input) in inputs.enumerated() {
            let stage = try stage(input.object)
            stages.append(stage)
            for run in input.runs {
                for page in run.start..<run.end {
                    try stage.add(page: page, input.origin + page * Page.size, size: input.size) { committed.isUnchanged(index, page, $0, $1) }
                }
            }
            if let layer = try stage.finish(size: input.size, floorPage: input.floorPage) {
                layers.append(layer)
            } else if input.floorPage != .max {
                layers.append(
                    (JournalLayer(object: input.object, size: input.size, floorPage: input.floorPage, record: 0, entries: []), []))
            }
        }
        do throws(StoreError) {
            let version = try commit([], staged: layers, operations: operations, durability: durability)
            for stage in stages { stage.keep() }
            return version
        } catch {
            if error.code == .unknownOutcome { for stage in stages { stage.keep() } }
            throw error
        }
    }

    func newRecord() -> UInt64 {
        state.withLock { state in
            defer { state.nextRecord += 1 }
            return state.nextRecord
        }
    }

    /// Makes the numbers given out so far durable with the transaction: none is used twice.
    func saveCounters(_ t: LMDB.Transaction) throws(StoreError) {
        guard var meta = try t.row(.meta, StoreMeta.key, StoreMeta.self) else { return }
        let (record, id) = state.withLock { ($0.nextRecord, $0.nextID) }
        meta.nextRecord = max(meta.nextRecord, record)
        meta.nextID = max(meta.nextID, id)
        try t.put(.meta, StoreMeta.key, row: meta)
    }

    /// Deletes the parts of a stage that no commit names. A failure leaves them to the next opening.
    func discard(object: ObjectID, record: UInt64, parts: UInt32) {
        guard record != 0, parts > 0 else { return }
        try? exclusively { () throws(StoreError) in
            try lmdb.write { (t) throws(StoreError) in
                for part in 0..<parts {
                    try t.delete(.records, Key(object.rawValue, record).with(part))
                    try t.delete(.graveyard, Key(0, object.rawValue, record).with(part))
                }
            }
        }
    }
}
