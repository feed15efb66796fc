internal import Glibc
public import VMTypes

/// What `repair` saved and what it could not.
public struct RepairReport: Hashable, Sendable {
    /// Pages of an object, at a snapshot or at the head, that are zeros in the copy because their bytes were damaged.
    public struct Loss: Hashable, Sendable {
        public var object: ObjectID
        /// The snapshot; nil for the head.
        public var snapshot: String?
        public var version: Version
        public var pages: PageRange
    }

    public var objects = 0
    public var snapshots = 0
    public var pages = 0
    /// The last version that could be read.
    public var version = Version.zero
    public var lost: [Loss] = []
    /// What is not in the copy at all, a sentence each.
    public var dropped: [String] = []
}

extension PageStore {
    /// Makes a new page store in `copy`, an empty folder, of all that is intact in `folder`, which is only read.
    ///
    /// The copy has the same objects and snapshots, with the pages of the head and of every snapshot; versions are counted
    /// anew, and other past versions are not taken along. A damaged page reads as zeros in the copy and is listed. Throws
    /// `.damaged` where the page store's trees are: LMDB cannot walk them.
    public static func repair(_ folder: String, into copy: String, progress: (String) -> Void = { _ in }) throws(StoreError) -> RepairReport {
        let damaged = try openDamaged(folder)
        defer {
            damaged.store.lmdb.close()
            damaged.store.leases.unlockWriter()
        }
        _ = try create(in: copy, options: CreateOptions(ringBytes: damaged.store.ringBytes, windowBase: damaged.store.windowBase))
        let target = try open(copy)
        var repair = Repair(from: damaged.store, to: target)
        repair.report.dropped = damaged.dropped
        do throws(StoreError) { try repair.run(progress) } catch {
            try? target.close()
            throw error
        }
        try target.close()
        return repair.report
    }

    /// Opens the store as a reader that knows the journal's intact records too.
    private static func openDamaged(_ folder: String) throws(StoreError) -> (store: PageStore, dropped: [String]) {
        let leases = try LeaseFile(path: folder + "/" + StoreFile.leases)
        guard try leases.lockWriter() else {
            throw StoreError(.locked, "a process writes the store", advice: "Stop it first", path: folder)
        }
        let pages = try File(folder + "/" + StoreFile.pages, O_RDONLY)
        try LMDBFile.check(pages, valueHeaders: false)
        let journal = try Journal(path: folder + "/" + StoreFile.journal, readOnly: true)
        let lmdb = try LMDB(path: folder + "/" + StoreFile.pages, readOnly: true)
        let meta = try readMeta(lmdb)
        let state = State(
            head: 0, tail: 0, chain: 0, last: meta.mark.settled, nextVersion: meta.nextVersion, flushed: meta.mark.settled,
            settled: meta.mark.settled, nonce: 0, nextRecord: meta.nextRecord, nextID: meta.nextID, epoch: meta.epoch,
            metadata: Metadata(lmdb: lmdb, retention: meta.retention), markedDirty: true,
            longestRecord: meta.longestRecord)
        let store = PageStore(
            folder: folder, isWriter: false, journal: journal, lmdb: lmdb, pages: pages, leases: leases, meta: meta, state: state,
            usesCheckpoints: false)
        var dropped: [String] = []
        if meta.clean { return (store, dropped) }
        let scan = try JournalScan(journal, from: meta.mark, longestRecord: meta.longestRecord)
        if let damage = scan.damage { dropped.append(damage.message) }
        for prologue in scan.records {
            do throws(StoreError) {
                let record = try store.youngRecord(prologue)
                try store.state.withLock { (state) throws(StoreError) in
                    for operation in record.operations {
                        try state.metadata.apply(operation, version: record.version, time: record.header.time)
                    }
                    state.young.append(record)
                    state.last = record.version
                }
            } catch {
                dropped.append("version \(prologue.header.version) and what follows it: \(error.message)")
                break
            }
        }
        return (store, dropped)
    }
}

/// One run of `repair`. Used by one thread.
private struct Repair {
    let source: PageStore
    let target: PageStore
    var report = RepairReport()
    /// What the target's head holds: each object's size and its pages' checksums; nil once the object is deleted.
    private var written: [ObjectID: (size: UInt64, sums: [Int: UInt64])?] = [:]
    private let bytes = AlignedBuffer(capacity: Page.size)

    init(from source: PageStore, to target: PageStore) {
        self.source = source
        self.target = target
    }

    mutating func run(_ progress: (String) -> Void) throws(StoreError) {
        report.version = source.lastVersion
        let objects = try source.objects()
        for snapshot in try source.snapshots() where snapshot.version <= report.version {
            progress("snapshot '\(snapshot.name)'")
            try bring(objects.filter { snapshot.object == nil || $0.id == snapshot.object }, to: snapshot.version, snapshot.name)
            if let object = snapshot.object, case .none = written[object] ?? nil {
                report.dropped.append("snapshot '\(snapshot.name)': its object could not be read")
                continue
            }
            _ = try target.commit(
                [], operations: [
                    .createSnapshot(name: snapshot.name, version: .infinity, object: snapshot.object, message: snapshot.message)
                ])
            report.snapshots += 1
        }
        progress("the head")
        try bring(objects, to: report.version, nil)
        report.objects = written.values.count { $0 != nil }
        _ = try target.commit([], operations: [.setRetention(source.retention)])
    }

    /// Makes the target's head what `objects` are at `version`.
    private mutating func bring(_ objects: [ObjectInfo], to version: Version, _ snapshot: String?) throws(StoreError) {
        for info in objects {
            let isThere = (written[info.id] ?? nil) != nil
            guard info.born <= version else { continue }
            guard version < info.died else {
                if isThere { _ = try target.commit([], operations: [.deleteObject(id: info.id)]) }
                written[info.id] = .some(nil)
                continue
            }
            do throws(StoreError) {
                let table = try source.table(info.id, at: version)
                try copy(info, table, version, snapshot)
            } catch {
                guard error.code == .damaged || error.code == .notRetained else { throw error }
                report.dropped.append("object \(info.id) at version \(version): \(error.message)")
            }
        }
    }

    private mutating func copy(_ info: ObjectInfo, _ table: PageTable, _ version: Version, _ snapshot: String?) throws(StoreError) {
        let size = table.withLock { $0.size }
        let old = written[info.id] ?? nil
        if old == nil {
            let name = info.isLive ? info.name : ""
            _ = try target.commit([], operations: [.createObject(id: info.id, name: name, size: size, residency: info.residency)])
        } else if old!.size != size {
            _ = try target.commit([], operations: [.resizeObject(id: info.id, size: size)])
        }
        var sums = (old?.sums ?? [:]).filter { $0.key < Page.count(forBytes: Int(size)) }
        let stage = try target.stage(info.id)
        for page in 0..<Page.count(forBytes: Int(size)) {
            let slot = table[page]
            let sum = slot.place == .zeros ? Checksum.zeroPage : slot.checksum
            guard sums[page] ?? Checksum.zeroPage != sum else { continue }
            do throws(StoreError) {
                try source.readPages(PageRange(start: page, count: 1), of: table, into: bytes[0..<Page.size])
                sums[page] = sum
            } catch {
                guard error.isLossOfBytes else { throw error }
                memset0(bytes.base, Page.size)
                sums[page] = Checksum.zeroPage
                lose(page, info.id, version, snapshot)
            }
            try stage.add(page: page, bytes.base, size: size)
            report.pages += 1
        }
        written[info.id] = .some((size, sums))
        _ = try target.commit(stage, size: size, operations: [])
    }

    private mutating func lose(_ page: Int, _ object: ObjectID, _ version: Version, _ snapshot: String?) {
        if let last = report.lost.last, last.object == object, last.version == version, last.snapshot == snapshot, last.pages.end == page {
            report.lost[report.lost.count - 1].pages.count += 1
        } else {
            let pages = PageRange(start: page, count: 1)
            report.lost.append(RepairReport.Loss(object: object, snapshot: snapshot, version: version, pages: pages))
        }
    }
}
