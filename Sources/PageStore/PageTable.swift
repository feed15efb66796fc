internal import Synchronization
internal import VMTypes

/// Where the bytes of a page are.
struct Place: Hashable {
    private let rawValue: UInt64
    private init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Nowhere: the page was never written, or reads as zeros.
    static let zeros = Place(rawValue: 0)
    /// A page of `pages.lmdb`, by its number in the file.
    static func file(_ page: Int) -> Place { Place(rawValue: 1 << 62 | UInt64(page)) }
    /// A page of the journal, by its logical position in bytes.
    static func journal(_ position: UInt64) -> Place { Place(rawValue: 2 << 62 | position >> UInt64(Page.shift)) }

    enum Kind {
        case zeros
        case file(page: Int)
        case journal(position: UInt64)
    }

    var kind: Kind {
        let value = rawValue & (1 << 62 - 1)
        switch rawValue >> 62 {
        case 0: return .zeros
        case 1: return .file(page: Int(value))
        default: return .journal(position: value << UInt64(Page.shift))
        }
    }

    /// The page's number in the file, where it is there.
    @inline(__always) var filePage: Int? { rawValue >> 62 == 1 ? Int(rawValue & (1 << 62 - 1)) : nil }
}

/// The page table of one object at one version (or, for the head, at the last commit): page → place and checksum.
///
/// Pages come in chunks of 512 that exist once one of their pages has been written. Thread-safe: one lock, held for
/// look-ups and updates of a batch, never across I/O. Lock order: the store's state, then this.
///
/// Invariant: `storage` is touched only under `mutex`.
final class PageTable: @unchecked Sendable {
    struct Slot: Equatable {
        var place: Place
        var checksum: UInt64
        static let zeros = Slot(place: .zeros, checksum: 0)
    }

    struct Storage {
        static let chunkShift = 9
        fileprivate var chunks: [UnsafeMutablePointer<Slot>?] = []
        /// The object's size in bytes.
        var size: UInt64 = 0

        subscript(page: Int) -> Slot {
            get {
                let index = page >> Self.chunkShift
                guard index < chunks.count, let chunk = chunks[index] else { return .zeros }
                return chunk[page & (1 << Self.chunkShift - 1)]
            }
            set {
                let index = page >> Self.chunkShift
                if index >= chunks.count { chunks.append(contentsOf: repeatElement(nil, count: index + 1 - chunks.count)) }
                let chunk: UnsafeMutablePointer<Slot>
                if let existing = chunks[index] {
                    chunk = existing
                } else {
                    if newValue == .zeros { return }
                    chunk = .allocate(capacity: 1 << Self.chunkShift)
                    chunk.initialize(repeating: .zeros, count: 1 << Self.chunkShift)
                    chunks[index] = chunk
                }
                chunk[page & (1 << Self.chunkShift - 1)] = newValue
            }
        }

        /// Forgets every page from `floor` on.
        mutating func clear(from floor: Int) {
            for page in floor..<max(floor, min(chunks.count << Self.chunkShift, (floor | (1 << Self.chunkShift - 1)) + 1)) {
                self[page] = .zeros
            }
            let firstWhole = (floor + (1 << Self.chunkShift) - 1) >> Self.chunkShift
            for index in firstWhole..<max(firstWhole, chunks.count) {
                chunks[index]?.deallocate()
                chunks[index] = nil
            }
        }

        /// Calls `body` for each page that is not `Slot.zeros`, ascending.
        func forEachWritten(_ body: (Int, Slot) -> Void) {
            for (index, chunk) in chunks.enumerated() {
                guard let chunk else { continue }
                for offset in 0..<1 << Self.chunkShift where chunk[offset] != .zeros {
                    body(index << Self.chunkShift + offset, chunk[offset])
                }
            }
        }

        /// Frees the chunks; whoever owns the storage does that once.
        mutating func deallocate() {
            for chunk in chunks { chunk?.deallocate() }
            chunks = []
        }

        /// One past the last page that a chunk exists for.
        var extent: Int { chunks.count << Self.chunkShift }

        /// True where no page of `page`'s chunk has been written; the chunk's end.
        func emptyChunkEnd(_ page: Int) -> Int? {
            let index = page >> Self.chunkShift
            if index < chunks.count, chunks[index] != nil { return nil }
            return (index + 1) << Self.chunkShift
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

    init(object: ObjectID, version: Version, sources: Set<ObjectID>, hasYoungPages: Bool, storage: consuming Storage) {
        self.hasYoungPages = hasYoungPages
        self.object = object
        self.version = version
        self.sources = sources
        self.storage = storage
    }

    deinit { storage.deallocate() }

    func withLock<R, E: Error>(_ body: (inout Storage) throws(E) -> R) throws(E) -> R {
        mutex._unsafeLock()
        defer { mutex._unsafeUnlock() }
        return try body(&storage)
    }

    subscript(page: Int) -> Slot { withLock { $0[page] } }
}
