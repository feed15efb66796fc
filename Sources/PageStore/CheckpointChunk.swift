internal import Glibc
internal import VMTypes

/// Pages of a chunk of which a mapping can be made: they lie together in the page store's file, or are zeros.
struct CheckpointRun: Equatable {
    /// Within the chunk.
    var first: Int
    var count: Int
    /// 0: zeros.
    var filePage: Int
}

/// A chunk whose slots are still to be read from the page store's file.
struct UnreadChunk {
    /// The page of the file at which the row begins.
    var filePage: Int
    /// Of its slots.
    var sum: UInt64
    /// Which of the source's runs are the chunk's.
    var runs: Range<Int>
    /// The head of the list of what lies over it.
    var changes = UnreadChanges.none
    /// How many they are; a page may be among them more than once.
    var changeCount = 0
}

/// The layout of a row of `checkpoints` at (object, chunk); docs/FORMAT.md draws it.
///
/// A head of 4,080 bytes, behind which, page-aligned in the file, come the slots: whoever lays out a mapping reads heads
/// only, and the slots are read when a page of theirs is asked for, straight into the page table.
enum CheckpointChunk {
    static let shift = 11
    static let pages = 1 << shift
    static let headSize = 4080
    static let slotBytes = pages * MemoryLayout<PageTable.Slot>.stride
    static let valueSize = headSize + slotBytes
    private static let runsOffset = 32
    private static let runSize = 16
    /// Runs of fewer pages are not listed, but where they begin or end the chunk: there they may go on in the next.
    static let leastRun = 16

    #if _endian(big)
        #error("page tables are read from the disk as they are: little-endian hosts only")
    #endif

    /// Writes a chunk's row to the `valueSize` bytes at `p`, which begin at `filePage` of the file; answers its head's checksum.
    static func encode(
        _ slots: UnsafePointer<PageTable.Slot>, object: ObjectID, index: UInt32, filePage: Int, to p: UnsafeMutableRawPointer
    ) -> UInt64 {
        func put<T: FixedWidthInteger>(_ value: T, _ offset: Int) {
            p.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
        }
        memset0(p, headSize)
        memcpy(p + headSize, slots, slotBytes)
        put(object.rawValue, 0)
        put(index, 8)
        put(UInt64(filePage), 16)
        put(Checksum.of(UnsafeRawPointer(p) + headSize, count: slotBytes), 24)
        var count = 0
        forEachRun(slots) { run in
            let offset = runsOffset + count * runSize
            put(UInt16(run.first), offset)
            put(UInt16(run.count), offset + 2)
            put(UInt64(run.filePage), offset + 8)
            count += 1
        }
        put(UInt32(count), 12)
        return Checksum.of(UnsafeRawPointer(p), count: headSize)
    }

    /// The runs that a head lists, ascending: at most 128 long ones and two at the borders.
    private static func forEachRun(_ slots: UnsafePointer<PageTable.Slot>, _ body: (CheckpointRun) -> Void) {
        var page = 0
        while page < pages {
            let first = page
            let place = slots[first].place
            page += 1
            if let start = place.filePage {
                while page < pages, slots[page].place.filePage == start + (page - first) { page += 1 }
            } else {
                while page < pages, slots[page].place == .zeros { page += 1 }
            }
            if page - first >= leastRun || first == 0 || page == pages {
                body(CheckpointRun(first: first, count: page - first, filePage: place.filePage ?? 0))
            }
        }
    }

    /// The checksum of the slots behind a head, whose runs are appended to `runs`; nil where the row is not the one that
    /// `sum` was made of, or not at the place where it was written.
    /// `p` points at `headSize` bytes.
    static func head(
        _ p: UnsafeRawPointer, object: ObjectID, index: UInt32, filePage: Int, sum: UInt64, runs: inout [CheckpointRun]
    ) -> UInt64? {
        guard Checksum.of(p, count: headSize) == sum else { return nil }
        func get<T: FixedWidthInteger>(_ offset: Int) -> T {
            T(littleEndian: p.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        guard get(0) == object.rawValue, get(8) == index, get(16) == UInt64(filePage) else { return nil }
        let count: UInt32 = get(12)
        guard Int(count) <= (headSize - runsOffset) / runSize else { return nil }
        for run in 0..<Int(count) {
            let offset = runsOffset + run * runSize
            let (first, length, page): (UInt16, UInt16, UInt64) = (get(offset), get(offset + 2), get(offset + 8))
            guard length > 0, Int(first) + Int(length) <= pages, page < 1 << 51 else { return nil }
            runs.append(CheckpointRun(first: Int(first), count: Int(length), filePage: Int(page)))
        }
        return get(24)
    }
}

/// Where a page table reads the chunks from that its checkpoint holds.
///
/// Nothing pins the rows: a chunk that a later checkpoint has replaced fails its checksum, and is built from the headers of
/// layers instead. That gives the same slots, since a table whose chunk changed has read it before.
final class CheckpointSource: Sendable {
    private weak let store: PageStore?
    private let file: File
    /// What the table shows, from the layers that the checkpoint stands for.
    private let segments: [PageStore.Segment]
    let runs: [CheckpointRun]

    init(_ store: PageStore, _ segments: [PageStore.Segment], runs: [CheckpointRun]) {
        self.store = store
        file = store.pages
        self.segments = segments
        self.runs = runs
    }

    /// Reads a chunk's slots; false where they are no longer, or not, what the chunk's head was written for.
    func read(_ chunk: UnreadChunk, into slots: UnsafeMutablePointer<PageTable.Slot>) -> Bool {
        let bytes = UnsafeMutableRawBufferPointer(start: slots, count: CheckpointChunk.slotBytes)
        guard (try? file.read(into: bytes, at: (chunk.filePage + 1) * Page.size)) != nil else { return false }
        return Checksum.of(UnsafeRawBufferPointer(bytes)) == chunk.sum
    }

    func canRead(_ chunk: UnreadChunk) -> Bool {
        withUnsafeTemporaryAllocation(of: PageTable.Slot.self, capacity: CheckpointChunk.pages) { slots in
            read(chunk, into: slots.baseAddress!)
        }
    }

    /// The slots as the headers tell them; nil where these cannot be read.
    func rebuild() -> SlotArray? {
        guard let store else { return nil }
        return try? store.slotsFromHeaders(segments)
    }
}
