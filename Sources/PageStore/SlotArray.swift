internal import Synchronization

/// Slots by page number, in chunks that exist once one of their pages has been written.
///
/// A copy shares its chunks with what it was copied from, until one of them writes there: copying takes time by chunks, not by
/// pages.
///
/// Invariant: each of `chunks` is nil or points behind a counter, to `chunkPages` initialized slots. The counter says how many
/// arrays have the chunk; slots are written only by an array that alone has it. Whoever owns an array calls `deallocate`
/// once. One thread at a time uses an array; those that share chunks may be used by different threads.
struct SlotArray {
    private typealias Counter = Atomic<Int>

    let chunkShift: Int
    private var chunks: [UnsafeMutablePointer<PageTable.Slot>?] = []

    init(chunkShift: Int) { self.chunkShift = chunkShift }

    var chunkPages: Int { 1 << chunkShift }
    /// One past the last chunk that may exist.
    var chunkCount: Int { chunks.count }
    /// One past the last page that a chunk exists for.
    var extent: Int { chunks.count << chunkShift }

    subscript(page: Int) -> PageTable.Slot {
        @inline(__always) get {
            let index = page >> chunkShift
            guard index < chunks.count, let chunk = chunks[index] else { return .zeros }
            return chunk[page & (chunkPages - 1)]
        }
        set {
            let index = page >> chunkShift
            if let chunk = writableChunk(index) {
                chunk[page & (chunkPages - 1)] = newValue
            } else if newValue != .zeros {
                make(index)[page & (chunkPages - 1)] = newValue
            }
        }
    }

    /// The slots of a chunk, where it exists.
    @inline(__always)
    func chunk(_ index: Int) -> UnsafePointer<PageTable.Slot>? {
        index < chunks.count ? chunks[index].map { UnsafePointer($0) } : nil
    }

    /// The same, to write to: from now on this array has it alone.
    @inline(__always)
    mutating func writableChunk(_ index: Int) -> UnsafeMutablePointer<PageTable.Slot>? {
        guard index < chunks.count, let chunk = chunks[index] else { return nil }
        return Self.counter(of: chunk).pointee.load(ordering: .acquiring) == 1 ? chunk : separate(chunk, index)
    }

    private mutating func separate(_ chunk: UnsafeMutablePointer<PageTable.Slot>, _ index: Int) -> UnsafeMutablePointer<PageTable.Slot> {
        let made = allocate()
        made.initialize(from: chunk, count: chunkPages)
        chunks[index] = made
        release(chunk)
        return made
    }

    /// Makes the chunk `index`, which does not exist, with zeros in every slot; or, where it is not `initialized`, for the
    /// caller to fill at once.
    mutating func make(_ index: Int, initialized: Bool = true) -> UnsafeMutablePointer<PageTable.Slot> {
        let made = allocate()
        if initialized { made.initialize(repeating: .zeros, count: chunkPages) }
        if index >= chunks.count { chunks.append(contentsOf: repeatElement(nil, count: index + 1 - chunks.count)) }
        chunks[index] = made
        return made
    }

    /// Forgets every page from `floor` on.
    mutating func clear(from floor: Int) {
        let firstWhole = (floor + chunkPages - 1) >> chunkShift
        if floor & (chunkPages - 1) != 0, let chunk = writableChunk(floor >> chunkShift) {
            for offset in floor & (chunkPages - 1)..<chunkPages { chunk[offset] = .zeros }
        }
        for index in firstWhole..<max(firstWhole, chunks.count) {
            if let chunk = chunks[index] { release(chunk) }
            chunks[index] = nil
        }
    }

    /// Calls `body` for each page that is not `Slot.zeros`, ascending.
    func forEachWritten(_ body: (Int, PageTable.Slot) -> Void) {
        for (index, chunk) in chunks.enumerated() {
            guard let chunk else { continue }
            for offset in 0..<chunkPages where chunk[offset] != .zeros { body(index << chunkShift + offset, chunk[offset]) }
        }
    }

    /// An array of its own with the same slots.
    func copy() -> SlotArray {
        for case let chunk? in chunks { Self.counter(of: chunk).pointee.add(1, ordering: .relaxed) }
        return self
    }

    mutating func deallocate() {
        for case let chunk? in chunks { release(chunk) }
        chunks = []
    }

    // MARK: Chunks

    private func allocate() -> UnsafeMutablePointer<PageTable.Slot> {
        // One slot in front for the counter keeps the alignment.
        let memory = UnsafeMutablePointer<PageTable.Slot>.allocate(capacity: chunkPages + 1)
        Self.counter(of: memory + 1).initialize(to: Counter(1))
        return memory + 1
    }

    @inline(__always)
    private static func counter(of chunk: UnsafeMutablePointer<PageTable.Slot>) -> UnsafeMutablePointer<Counter> {
        UnsafeMutableRawPointer(chunk - 1).assumingMemoryBound(to: Counter.self)
    }

    private func release(_ chunk: UnsafeMutablePointer<PageTable.Slot>) {
        guard Self.counter(of: chunk).pointee.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        (chunk - 1).deallocate()
    }
}
