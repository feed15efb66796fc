internal import Glibc
public import VMTypes

/// One object at one version, or at its last commit: what can be mapped and read.
///
/// While it lives, the bytes that it leads to stay where they are on the disk. Thread-safe.
public final class ObjectView: @unchecked Sendable {
    public let object: ObjectID
    /// `.infinity` for the head, which each commit moves on.
    public let version: Version
    let store: PageStore
    let table: PageTable
    private let lease: LeaseFile.Lease
    let epoch: UInt64
    let horizon: UInt64

    init(store: PageStore, object: ObjectID, version: Version, table: PageTable, pin: PageStore.Pin) {
        epoch = pin.epoch
        horizon = pin.horizon
        self.store = store
        self.object = object
        self.version = version
        self.table = table
        lease = pin.lease
    }

    /// Bytes.
    public var size: UInt64 { table.withLock { $0.size } }
    public var pageCount: Int { Page.count(forBytes: Int(size)) }
    /// The file that `Extent.file` refers to.
    public var fileDescriptor: Int32 { store.pages.descriptor }

    /// Where a run of pages is.
    public enum Extent: Hashable, Sendable {
        /// Never written: zeros.
        case zeros
        /// Page-aligned and contiguous in the page store's file from this byte on; immutable while this view lives.
        case file(offset: Int)
        /// Readable through `read` alone.
        case journal
        /// Past the object's end.
        case beyondEnd
    }

    /// True while no record has been made or has gone out of use since this view was made. What was mapped from
    /// `extents` is pinned where this is still true after mapping; else map again through a new view.
    public var isCurrent: Bool { store.state.withLock { $0.epoch == epoch && $0.nextRecord == horizon } }

    /// The runs that `range` is made of, in order.
    public func extents(in range: PageRange) -> [(pages: PageRange, extent: Extent)] {
        table.withLock { storage in
            var runs: [(pages: PageRange, extent: Extent)] = []
            let end = min(range.end, Page.count(forBytes: Int(storage.size)))
            var page = range.start
            var nextFile = -1
            while page < end {
                var count = 1
                let extent: Extent
                if let empty = storage.emptyChunkEnd(page) {
                    extent = .zeros
                    count = min(empty, end) - page
                } else {
                    switch storage[page].place.kind {
                    case .zeros: extent = .zeros
                    case .file(let filePage): extent = .file(offset: filePage * Page.size)
                    case .young, .unknown, .lost: extent = .journal
                    }
                }
                if let last = runs.last?.extent {
                    var joins = last == extent
                    if case .file(let offset) = extent, case .file = last { joins = offset == nextFile }
                    if joins { runs[runs.count - 1].pages.count += count } else { runs.append((PageRange(start: page, count: count), extent)) }
                } else {
                    runs.append((PageRange(start: page, count: count), extent))
                }
                if case .file(let offset) = extent { nextFile = offset + Page.size }
                page += count
            }
            if range.end > max(end, range.start) {
                let start = max(end, range.start)
                runs.append((PageRange(start: start, count: range.end - start), .beyondEnd))
            }
            return runs
        }
    }

    /// As `extents(in:)`, for whoever maps only runs of at least `least` pages: what is shorter is joined to runs that `read`
    /// answers for (`.journal`), zeros among them, so that an aged object has few.
    public func extents(in range: PageRange, joiningBelow least: Int) -> [(pages: PageRange, extent: Extent)] {
        table.withLock { storage in
            let end = max(range.start, min(range.end, Page.count(forBytes: Int(storage.size))))
            var joiner = ExtentJoiner(least: least)
            storage.forEachRun(in: range.start..<end, least: least) { joiner.add($0, $1) }
            joiner.finish()
            if range.end > end { joiner.joined.append((PageRange(start: end, count: range.end - end), .beyondEnd)) }
            return joiner.joined
        }
    }

    /// Copies whole pages to `destination`, each checked against its checksum. Pages past the end read as zeros.
    public func read(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
        try ForkedChild.refuse()
        var done = 0
        while done < range.count {
            let count = min(256, range.count - done)
            try store.readPages(
                PageRange(start: range.start + done, count: count), of: table,
                into: UnsafeMutableRawBufferPointer(start: destination + done * Page.size, count: count * Page.size))
            done += count
        }
    }

    /// The checksum of a page's bytes, without reading them.
    public func checksum(of page: Int) -> UInt64 {
        let slot = table[page]
        return slot.place == .zeros ? Checksum.zeroPage : slot.checksum
    }

    /// The pages in which two views differ, as ascending runs; both are pinned while this runs.
    public func differences(from other: ObjectView) -> [PageRange] {
        let count = max(pageCount, other.pageCount)
        var runs: [PageRange] = []
        // One copy of each table's slots a block, so that neither lock is held while the other is taken.
        var page = 0
        while page < count {
            if let mine = table.withLock({ $0.emptyChunkEnd(page) }), let theirs = other.table.withLock({ $0.emptyChunkEnd(page) }) {
                page = min(mine, theirs)
                continue
            }
            let end = min(page + 512, count)
            let mine = table.withLock { storage in (page..<end).map { storage[$0] } }
            let theirs = other.table.withLock { storage in (page..<end).map { storage[$0] } }
            for (a, b) in zip(mine, theirs) {
                if !a.isSame(as: b) {
                    if let last = runs.last, last.end == page { runs[runs.count - 1].count += 1 } else { runs.append(PageRange(start: page, count: 1)) }
                }
                page += 1
            }
        }
        return runs
    }
}

extension PageStore {
    /// Pins `object` at its last commit, which further commits move on.
    public func head(of object: ObjectID) throws(StoreError) -> ObjectView {
        guard isWriter else { return try view(of: object, at: settledVersion) }
        guard try self.object(object)?.isLive == true else { throw Metadata.missing(object) }
        let pin = try pin(object, at: flushedVersion)
        return ObjectView(store: self, object: object, version: .infinity, table: try headTable(object), pin: pin)
    }

    /// Pins `object` at `version`, which must be kept still (`.notRetained`) and hold the object (`.notFound`).
    public func view(of object: ObjectID, at version: Version) throws(StoreError) -> ObjectView {
        let pin = try pinState(object, at: version)
        return ObjectView(store: self, object: object, version: version, table: try table(object, at: version), pin: pin)
    }

    /// A lease, and what was known when it was taken: it holds records below `horizon` that die after `epoch`.
    struct Pin {
        var lease: LeaseFile.Lease
        var epoch: UInt64
        var horizon: UInt64
    }

    /// Pins `object` at `version`, which must be there and hold the object; whether it is kept still shows afterwards.
    func pinState(_ object: ObjectID, at version: Version) throws(StoreError) -> Pin {
        let last = isWriter ? lastVersion : settledVersion
        guard version <= last else {
            throw StoreError(.notFound, "version \(version) is not there; the last is \(last)", advice: "`varve log` lists them", path: folder)
        }
        if isWriter, version > flushedVersion { try flush() }
        let pin = try pin(object, at: version)
        guard let info = try state.withLock({ (state) throws(StoreError) in try state.metadata.object(object) }) else {
            throw Metadata.missing(object)
        }
        guard info.born <= version, version < info.died else {
            throw StoreError(
                .notFound, "object \(object) is not part of version \(version)", advice: "`varve ls --at` lists a version's objects")
        }
        return pin
    }

    /// Pins `object` at `version`; the page table is made afterwards, so that it names nothing that is not pinned.
    private func pin(_ object: ObjectID, at version: Version) throws(StoreError) -> Pin {
        let (epoch, horizon) = state.withLock { ($0.epoch, $0.nextRecord) }
        // An object with lineage shows pages of others: it pins them all.
        let rows = try state.withLock { (state) throws(StoreError) in try state.metadata.lineage(of: object) }
        let lease = try leases.acquire(
            object: rows.isEmpty ? object : nil, version: version, epoch: epoch, horizon: isWriter ? horizon : .max)
        return Pin(lease: lease, epoch: epoch, horizon: horizon)
    }

    /// Reads pages through a table. A page whose bytes do not match was moved and its old place reused, or is damaged:
    /// the table tells which.
    func readPages(_ range: PageRange, of table: PageTable, into bytes: UnsafeMutableRawBufferPointer) throws(StoreError) {
        let slots = table.withLock { storage in (range.start..<range.end).map { storage[$0] } }
        var index = 0
        while index < slots.count {
            var count = 1
            if let first = slots[index].place.filePage {
                while index + count < slots.count, slots[index + count].place.filePage == first + count { count += 1 }
            }
            let target = UnsafeMutableRawBufferPointer(
                rebasing: bytes[index * Page.size..<(index + count) * Page.size])
            var failure: StoreError?
            do throws(StoreError) { try readPlace(slots[index].place, into: target) } catch { failure = error }
            for i in 0..<count {
                let page = UnsafeMutableRawBufferPointer(rebasing: target[i * Page.size..<(i + 1) * Page.size])
                try check(page, slots[index + i], range.start + index + i, table, failure)
            }
            index += count
        }
    }

    private func check(
        _ bytes: UnsafeMutableRawBufferPointer, _ slot: PageTable.Slot, _ page: Int, _ table: PageTable, _ failure: StoreError?
    ) throws(StoreError) {
        var slot = slot
        var failure = failure
        while slot.place != .zeros {
            if failure == nil, Checksum.of(UnsafeRawBufferPointer(bytes)) == slot.checksum || Mutant.isPlanted(.readUnchecked) { return }
            let now = table[page]
            guard now != slot else {
                if let failure, failure.code != .damaged { throw failure }
                throw StoreError(
                    .damaged, "page \(page) of object \(table.object) is damaged: its checksum does not match",
                    advice: "`varve verify` lists all damage; `varve repair` keeps what is intact; or restore a backup",
                    path: lmdb.path)
            }
            slot = now
            failure = nil
            do throws(StoreError) { try readPlace(slot.place, into: bytes) } catch { failure = error }
        }
    }

    /// Reads what is at a place, unchecked: one page, or a run of zeros or of pages of the file.
    func readPlace(_ place: Place, into bytes: UnsafeMutableRawBufferPointer) throws(StoreError) {
        switch place.kind {
        case .zeros: memset0(bytes.baseAddress!, bytes.count)
        case .file(let page): try pages.read(into: bytes, at: page * Page.size)
        case .young: try readYoung(place, into: bytes.baseAddress!)
        case .unknown, .lost:
            throw StoreError(
                .damaged, "where the page is cannot be read: its layers' headers are damaged",
                advice: "`varve verify` lists all damage; `varve repair` keeps what is intact; or restore a backup", path: lmdb.path)
        }
    }
}
