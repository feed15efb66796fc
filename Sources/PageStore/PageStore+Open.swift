internal import Glibc
internal import Synchronization
public import VMTypes

extension PageStore {
    /// What a caller wants of a store.
    public enum Access: Sendable {
        /// Commit; `.locked` where another process does.
        case write
        /// Read what is settled.
        case read
    }

    /// Opens the store in `folder`, and recovers it where its last writer did not close it.
    ///
    /// Throws `.noStore`, `.locked` (naming the writer's process), `.newerFormat`, `.damaged`, `.mismatchedFiles`.
    /// Recovery needs no space on the disk and may itself be cut off and done again. A writer that says it is one `briefly`
    /// is waited for by the next, ten seconds at most; any other is not.
    ///
    /// `whenLocked` is called, where the access is `.write`, as soon as no other process can be the writer.
    public static func open(
        _ folder: String, access: Access = .write, briefly: Bool = false, whenLocked: () -> Void = {}
    ) throws(StoreError) -> PageStore {
        for name in [StoreFile.journal, StoreFile.pages] where !Folder.exists(folder + "/" + name) {
            if name == StoreFile.journal || !Folder.exists(folder + "/" + StoreFile.journal) {
                throw StoreError(.noStore, "there is no store here", advice: "`varve init` makes one", path: folder)
            }
            throw StoreError(
                .damaged, "the store's \(name) is missing", advice: "Put it back from a backup", path: folder + "/" + name)
        }
        let leases = try LeaseFile(path: folder + "/" + StoreFile.leases)
        if access == .write {
            guard try leases.lockWriter(briefly: briefly) else {
                let process = try leases.writer()
                throw StoreError(
                    .locked, "process \(process.map(String.init) ?? "unknown") is the store's writer",
                    advice: "`varve leases \(folder)` shows who uses the store: open it for reading, or wait until its writer is done",
                    path: folder)
            }
            whenLocked()
        }
        let pages = try File(folder + "/" + StoreFile.pages, O_RDONLY)
        // While a writer commits, pages change under a check; it made one when it opened the store.
        let isChanging = access == .read ? try leases.writer() != nil : false
        if !isChanging { try LMDBFile.check(pages, valueHeaders: false) }
        let journal = try Journal(path: folder + "/" + StoreFile.journal, readOnly: access == .read)
        let lmdb = try LMDB(path: folder + "/" + StoreFile.pages, readOnly: access == .read)
        var lease: LeaseFile.Lease?
        let meta = access == .write ? try readMeta(lmdb) : try pinnedMeta(lmdb, leases, &lease)
        guard meta.store == journal.store || Mutant.isPlanted(.foreignJournalTaken) else {
            throw StoreError(
                .mismatchedFiles, "the journal belongs to store \(journal.store), the page store to \(meta.store)",
                advice: "Put back the files that belong together", path: folder)
        }
        let state = State(
            head: meta.mark.position, tail: meta.mark.position, chain: meta.mark.chain, last: meta.mark.last,
            nextVersion: max(meta.mark.last.next, meta.nextVersion), flushed: meta.mark.settled, settled: meta.mark.settled,
            nonce: UInt64.random(in: 1...UInt64.max), nextRecord: meta.nextRecord, nextID: meta.nextID, epoch: meta.epoch,
            metadata: Metadata(lmdb: lmdb, retention: meta.retention), markedDirty: !meta.clean, longestRecord: meta.longestRecord)
        let store = PageStore(
            folder: folder, isWriter: access == .write, journal: journal, lmdb: lmdb, pages: pages, leases: leases,
            meta: meta, state: state)
        store.readerLease.withLock { $0 = lease }
        if access == .write {
            if meta.mark.position == 0, !Mutant.isPlanted(.nameOfKilledCreatorNotSynced) { try makeNameDurable(folder) }
            if !meta.clean { try store.recover(from: meta) }
            store.startSettler()
        }
        return store
    }

    /// Nothing has settled here yet: whoever made the folder may have been killed between giving it its name and syncing that, and
    /// a power cut would take the name with all that is committed now. A parent that may not be read can't be synced.
    private static func makeNameDurable(_ folder: String) throws(StoreError) {
        // The folder may be named by a symbolic link, or as the present one.
        guard !Mutant.isPlanted(.nameNotSynced), let path = realpath(folder, nil) else { return }
        defer { free(path) }
        if let parent = try? File(Folder.parent(of: String(cString: path)), O_RDONLY | O_DIRECTORY) { try parent.sync() }
    }

    /// The meta row, and a lease on the state that it tells: taken first, then checked to be still the newest.
    private static func pinnedMeta(_ lmdb: LMDB, _ leases: LeaseFile, _ lease: inout LeaseFile.Lease?) throws(StoreError)
        -> StoreMeta
    {
        while true {
            let meta = try readMeta(lmdb)
            lease = try leases.acquire(object: nil, version: meta.mark.settled, epoch: meta.epoch, horizon: .max)
            let now = try readMeta(lmdb)
            if now.mark.settled == meta.mark.settled, now.epoch == meta.epoch { return now }
        }
    }

    static func readMeta(_ lmdb: LMDB) throws(StoreError) -> StoreMeta {
        let row = try lmdb.read { (t) throws(StoreError) in try t.row(.meta, StoreMeta.key, StoreMeta.self) }
        guard let row else {
            throw StoreError(
                .damaged, "the page store has no meta row", advice: "Restore a backup, or run `varve repair`", path: lmdb.path)
        }
        return row
    }

    /// How many versions a crash skips: as many as may have been told to a caller (deferred) and then lost.
    static let maximumUnflushed = 200

    private func recover(from meta: StoreMeta) throws(StoreError) {
        let mark = meta.mark
        // A writer that died in a commit of LMDB may have left pages in the page cache only: beside the scan.
        let lmdb = lmdb
        let syncing = SideTask { () -> StoreError? in
            if Mutant.isPlanted(.pageCacheTrusted) { return nil }
            do throws(StoreError) { try lmdb.sync() } catch { return error }
            return nil
        }
        let scan: JournalScan
        do throws(StoreError) { scan = try JournalScan(journal, from: mark, longestRecord: meta.longestRecord) } catch {
            _ = syncing.wait()
            throw error
        }
        let syncFailure = syncing.wait()
        if let failure = scan.damage ?? syncFailure { throw failure }
        recovery.wasClean = false
        recovery.records = scan.records.count
        Failpoint.pass("recovery.synced")
        try rewrite(scan)
        Failpoint.pass("recovery.rewritten")
        var young: [YoungRecord] = []
        for record in scan.records { young.append(try youngRecord(record)) }
        var nextID: UInt64 = 0
        for case .createObject(let id, _, _, _) in young.flatMap(\.operations) { nextID = max(nextID, id.rawValue + 1) }
        try state.withLock { (state) throws(StoreError) in
            state.head = scan.head
            state.chain = scan.chain
            state.last = scan.last
            state.flushed = max(scan.last, mark.settled)
            let known = max(max(scan.last, mark.settled).next, state.nextVersion)
            state.nextVersion = Version(known.rawValue + (Mutant.isPlanted(.versionsUsedTwice) ? 0 : UInt64(Self.maximumUnflushed)))
            state.nextID = max(state.nextID, nextID)
            for record in young {
                for operation in record.operations {
                    if Mutant.isPlanted(.deletionForgotten), case .deleteObject = operation { continue }
                    try state.metadata.apply(operation, version: record.version, time: record.header.time)
                }
                for layer in record.layers { state.nextRecord = max(state.nextRecord, layer.record + 1) }
            }
            state.young = young
            // The first commit writes down the numbers that it begins with.
            state.markedDirty = false
        }
        try deleteOrphans()
    }

    /// Writes again, and flushes, the records that only the page cache may hold: what is served must be on the disk.
    private func rewrite(_ scan: JournalScan) throws(StoreError) {
        let unproven = scan.records[scan.firstUnproven...]
        guard !unproven.isEmpty, !Mutant.isPlanted(.unprovenNotRewritten) else { return }
        let buffer = AlignedBuffer(capacity: Page.size)
        for (index, record) in zip(unproven.indices, unproven) {
            let count = Int(record.header.length)
            var bytes = buffer
            if let known = scan.unprovenBytes[index] {
                bytes = known
            } else {
                buffer.reserve(count)
                try journal.read(into: buffer[0..<count], at: record.header.position)
            }
            try journal.write(UnsafeRawBufferPointer(bytes[0..<count]), at: record.header.position)
            Failpoint.pass("recovery.rewrite")
        }
        try journal.flush()
        recovery.rewritten = unproven.count
    }

    func youngRecord(_ record: JournalPrologue) throws(StoreError) -> YoungRecord {
        var staged: [[Place]] = []
        for layer in record.layers {
            staged.append(layer.record == 0 ? [] : try stagedPlaces(of: layer))
        }
        return YoungRecord(
            header: record.header,
            layers: YoungLayer.make(
                record.layers, staged: staged, record.layout, at: record.header.position, nil, in: youngPages),
            operations: try StoreOperation.decode(record.operations))
    }

    /// Where the pages of a record are that a journal record names.
    private func stagedPlaces(of layer: JournalLayer) throws(StoreError) -> [Place] {
        var found: [Int: Place] = [:]
        try lmdb.read { (t) throws(StoreError) in
            try forEachPart(of: layer.object, record: layer.record, t) { (header, first) throws(StoreError) in
                var page = first
                for entry in header.entries where !entry.isZero {
                    found[Int(entry.page)] = .file(page)
                    page += 1
                }
            }
        }
        var places: [Place] = []
        for entry in layer.entries {
            if entry.isZero {
                places.append(.zeros)
            } else if let place = found[Int(entry.page)] {
                places.append(place)
            } else {
                throw StoreError(
                    .damaged, "record \(layer.record) of object \(layer.object) lacks page \(entry.page)",
                    advice: "Run `varve repair`", path: folder)
            }
        }
        return places
    }

    /// Calls `body` with each part's header and the number of the file page where its whole pages begin; returns how many
    /// parts there are.
    @discardableResult
    func forEachPart(
        of object: ObjectID, record: UInt64, _ t: LMDB.Transaction,
        _ body: (LayerPart.Header, Int) throws(StoreError) -> Void
    ) throws(StoreError) -> Int {
        var expected: UInt32 = 0
        try t.forEach(.records, from: Key(object.rawValue, record), prefix: 16) { (key, value) throws(StoreError) in
            guard Key.part(key, 16) == expected else { throw missingPart(expected, of: record, object) }
            let header = try header(of: expected, record, object, in: value)
            expected += 1
            try body(header, try t.filePage(of: value) + 1)
            return true
        }
        return Int(expected)
    }

    /// The header of a part, which `value` begins with, and none other's.
    func header(of part: UInt32, _ record: UInt64, _ object: ObjectID, in value: UnsafeRawBufferPointer) throws(StoreError) -> LayerPart.Header {
        let header = try LayerPart.Header(from: value, what: "part \(part) of record \(record) of object \(object)")
        guard header.object == object, header.record == record, header.part == part, header.store == uuid else {
            throw missingPart(part, of: record, object)
        }
        return header
    }

    func missingPart(_ part: UInt32, of record: UInt64, _ object: ObjectID) -> StoreError {
        StoreError(
            .damaged, "part \(part) of record \(record) of object \(object) is missing or another's",
            advice: "Run `varve verify`, then `varve repair`", path: lmdb.path)
    }

    /// Deletes the records that a crash left before anything named them.
    private func deleteOrphans() throws(StoreError) {
        let named = Set(state.withLock { state in state.young.flatMap { $0.layers.map(\.record) } })
        var orphans: [(object: UInt64, record: UInt64, part: UInt32)] = []
        try lmdb.read { (t) throws(StoreError) in
            try t.forEach(.graveyard, from: Key(0), prefix: 8) { (key, value) throws(StoreError) in
                _ = try GraveRow.decode(value, key: key)
                if let object = Key.field(key, 8), let record = Key.field(key, 16), let part = Key.part(key, 24),
                    !named.contains(record) || Mutant.isPlanted(.namedStageDeleted)
                {
                    orphans.append((object, record, part))
                }
                return true
            }
        }
        guard !orphans.isEmpty, !Mutant.isPlanted(.orphansKept) else { return }
        do throws(StoreError) {
            try lmdb.write { (t) throws(StoreError) in
                for orphan in orphans {
                    try t.delete(.records, Key(orphan.object, orphan.record).with(orphan.part))
                    try t.delete(.graveyard, Key(0, orphan.object, orphan.record).with(orphan.part))
                }
            }
            Failpoint.pass("recovery.orphans")
            recovery.orphans = orphans.count
        } catch {
            // A full disk must not keep a store from opening; the orphans wait for the next time.
            guard error.code == .full else { throw error }
        }
    }
}
