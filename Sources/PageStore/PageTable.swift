internal import Synchronization
internal import VMTypes

/// Where the bytes of a page are.
struct Place: Hashable {
    private let rawValue: UInt64
    private init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Nowhere: the page was never written, or reads as zeros.
    static let zeros = Place(rawValue: 0)
    /// Not known: both the table's checkpoint and the headers that say the same could not be read.
    static let lost = Place(rawValue: 3 << 62)
    /// A page of `pages.lmdb`, by its number in the file, which is never 0.
    static func file(_ page: Int) -> Place { Place(rawValue: UInt64(page)) }
    /// Not asked yet: what a patch of a record that recovery found lies over.
    static let unknown = Place(rawValue: 1 << 62)
    /// A page of a young record, whole or a patch: a node of `YoungPages`. Of `serial` the lower 30 bits count.
    static func young(node: Int, serial: UInt32) -> Place {
        Place(rawValue: 2 << 62 | UInt64(serial & serialMask) << 32 | UInt64(UInt32(node)))
    }

    static let serialMask: UInt32 = 1 << 30 - 1

    enum Kind {
        case zeros
        case file(page: Int)
        case young(node: Int, serial: UInt32)
        case unknown
        case lost
    }

    var kind: Kind {
        let value = rawValue & (1 << 62 - 1)
        switch rawValue >> 62 {
        case 0: return value == 0 ? .zeros : .file(page: Int(value))
        case 1: return .unknown
        case 2: return .young(node: Int(value & 0xffff_ffff), serial: UInt32(value >> 32))
        default: return .lost
        }
    }

    @inline(__always) var isYoung: Bool { rawValue >> 62 == 2 }

    /// The page's number in the file, where it is there.
    @inline(__always) var filePage: Int? { rawValue != 0 && rawValue >> 62 == 0 ? Int(rawValue) : nil }
}

/// The page table of one object at one version (or, for the head, at the last commit): page → place and checksum.
///
/// What a checkpoint holds is read chunk by chunk when it is first asked for. Thread-safe: one lock, held for look-ups and
/// updates of a batch, and across no I/O but the reading of such a chunk. Lock order: the store's state, then this.
///
/// Invariant: `storage` is touched only under `mutex`.
final class PageTable: @unchecked Sendable {
    /// A page's place and checksum; its 16 bytes are in memory as `CheckpointChunk` has them on the disk.
    struct Slot: Equatable {
        var place: Place
        var checksum: UInt64
        static let zeros = Slot(place: .zeros, checksum: 0)
        static let lost = Slot(place: .lost, checksum: 0)
    }

    struct Storage {
        private(set) var slots = SlotArray(chunkShift: CheckpointChunk.shift)
        /// The object's size in bytes.
        var size: UInt64 = 0
        /// Chunks that a checkpoint holds and nobody has asked for; where a chunk is here, `slots` has none.
        private(set) var unread: [Int: UnreadChunk] = [:]
        /// What lies over these chunks.
        private var changes = UnreadChanges()
        /// Where they are read from.
        private var source: CheckpointSource?
        /// All that the table knows, where it is one of a comparison; then nothing is in `slots` or unread.
        private(set) var few = FewSlots()

        init() {}

        /// Some pages alone.
        init(size: UInt64, few: FewSlots) {
            self.size = size
            self.few = few
        }

        /// What a checkpoint holds, none of it read yet.
        init(size: UInt64, unread: [Int: UnreadChunk], source: CheckpointSource) {
            self.size = size
            self.unread = unread
            self.source = source
            lastUnread = unread.keys.max() ?? -1
        }

        private var lastUnread = -1

        subscript(page: Int) -> Slot {
            @inline(__always) mutating get {
                if let chunk = slots.chunk(page >> slots.chunkShift) { return chunk[page & (slots.chunkPages - 1)] }
                return unread.isEmpty ? few[page] : readAndGet(page)
            }
            set {
                if !few.isEmpty { return few[page] = newValue }
                if !unread.isEmpty, slots.chunk(page >> slots.chunkShift) == nil { read(page >> slots.chunkShift) }
                slots[page] = newValue
            }
        }

        private mutating func readAndGet(_ page: Int) -> Slot {
            read(page >> slots.chunkShift)
            return slots[page]
        }

        /// Sets a page's slot while a table is built: a chunk that is yet unread stays so. Once somebody shares the table,
        /// what changes in it is read first, so that whoever rebuilds a chunk from headers finds no newer layer there.
        mutating func lay(_ slot: Slot, over page: Int) {
            let index = page >> slots.chunkShift
            guard !unread.isEmpty, let chunk = unread.index(forKey: index) else {
                slots[page] = slot
                return
            }
            unread.values[chunk].changes = changes.add(page, slot, before: unread.values[chunk].changes)
            unread.values[chunk].changeCount += 1
        }

        /// So many pages are about to be laid over what is there.
        mutating func reserve(_ pages: Int) { if !unread.isEmpty { changes.reserve(pages) } }

        /// Reads a chunk that is yet unread. What the checkpoint no longer holds, all that is unread is built from headers.
        private mutating func read(_ index: Int) {
            guard let chunk = unread.removeValue(forKey: index), let source else { return }
            defer { if unread.isEmpty { changes.removeAll() } }
            let target = slots.make(index, initialized: false)
            if source.read(chunk, into: target) { return changes.apply(from: chunk.changes, to: target) }
            target.initialize(repeating: .zeros, count: slots.chunkPages)
            var rebuilt = source.rebuild()
            unread[index] = chunk
            for (index, chunk) in unread {
                let target = slots.writableChunk(index) ?? slots.make(index)
                if rebuilt == nil {
                    target.update(repeating: .lost, count: slots.chunkPages)
                } else if let known = rebuilt!.chunk(index) {
                    target.update(from: known, count: slots.chunkPages)
                } else {
                    target.update(repeating: .zeros, count: slots.chunkPages)
                }
                changes.apply(from: chunk.changes, to: target)
            }
            unread = [:]
            rebuilt?.deallocate()
        }

        /// Reads all that is unread, so that nothing depends on the checkpoint any more.
        mutating func readAll() {
            for index in unread.keys.sorted() { read(index) }
            source = nil
        }

        /// Reads what something lies over: then what is unread is what the checkpoint holds.
        mutating func readChanged() {
            for (index, chunk) in unread where chunk.changes != UnreadChanges.none { read(index) }
        }

        /// Whether a chunk that is unread can be read.
        func isIntact(_ index: Int) -> Bool {
            guard let chunk = unread[index], let source else { return false }
            return source.canRead(chunk)
        }

        /// The runs of a chunk that is unread, ascending: long ones and those at its borders, as far as they are of pages
        /// over which nothing lies. nil for any other chunk, and where so much lies over it that long runs may be there.
        func unreadRuns(_ index: Int) -> ArraySlice<CheckpointRun>? {
            guard let chunk = unread[index], let source, chunk.changeCount < slots.chunkPages / 8 else { return nil }
            let runs = source.runs[chunk.runs]
            guard chunk.changes != UnreadChanges.none, !runs.isEmpty else { return runs }
            return changes.cut(runs, from: chunk.changes)[...]
        }

        /// Forgets every page from `floor` on.
        mutating func clear(from floor: Int) {
            if !unread.isEmpty {
                if floor & (slots.chunkPages - 1) != 0 { read(floor >> slots.chunkShift) }
                unread = unread.filter { $0.key << slots.chunkShift < floor }
            }
            slots.clear(from: floor)
        }

        /// The same slots, in an array of its own; nothing may be unread.
        func copy() -> Storage {
            precondition(unread.isEmpty, "a table is copied after it was read")
            var copy = Storage()
            copy.size = size
            copy.slots = slots.copy()
            return copy
        }

        /// Frees the chunks; whoever owns the storage does that once.
        mutating func deallocate() { slots.deallocate() }

        /// One past the last page that a chunk exists for.
        var extent: Int { max(slots.extent, (lastUnread + 1) << slots.chunkShift) }

        /// True where no page of `page`'s chunk has been written; the chunk's end.
        func emptyChunkEnd(_ page: Int) -> Int? {
            let index = page >> slots.chunkShift
            if slots.chunk(index) != nil || (!unread.isEmpty && unread[index] != nil) { return nil }
            return (index + 1) << slots.chunkShift
        }
    }

    /// The object, and the objects its lineage takes pages from.
    let sources: Set<ObjectID>
    let object: ObjectID
    /// `.infinity` for the head.
    let version: Version
    /// Some of its layers were in the journal when it was made.
    let hasYoungPages: Bool
    private let mutex = Mutex(())
    private var storage: Storage
    /// Pages in a row that commits compared and found changed all over. Used by the thread that commits the object.
    var wholeStreak = 0

    init(object: ObjectID, version: Version, sources: Set<ObjectID>, hasYoungPages: Bool, storage: consuming Storage) {
        self.hasYoungPages = hasYoungPages
        self.object = object
        self.version = version
        self.sources = sources
        self.storage = storage
    }

    deinit { storage.deallocate() }

    /// Reads what a checkpoint holds of the table and nobody has asked for: the checkpoint is about to change, or is no
    /// longer this table's.
    func readAll() { withLock { $0.readAll() } }

    /// The table as it is now, for a version that no commit moves on. All of it has been read.
    func copy(at version: Version) -> PageTable {
        withLock { storage in
            PageTable(object: object, version: version, sources: sources, hasYoungPages: hasYoungPages, storage: storage.copy())
        }
    }

    func withLock<R, E: Error>(_ body: (inout Storage) throws(E) -> R) throws(E) -> R {
        mutex._unsafeLock()
        defer { mutex._unsafeUnlock() }
        return try body(&storage)
    }

    subscript(page: Int) -> Slot { withLock { $0[page] } }
}
