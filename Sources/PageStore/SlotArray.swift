/// Slots by page number, in chunks that exist once one of their pages has been written.
///
/// Invariant: each of `chunks` is nil or an allocation of `chunkPages` initialized slots that this array alone owns;
/// whoever owns the array calls `deallocate` once. Used by one thread at a time.
struct SlotArray {
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
            if let chunk = chunk(index) {
                chunk[page & (chunkPages - 1)] = newValue
            } else if newValue != .zeros {
                make(index)[page & (chunkPages - 1)] = newValue
            }
        }
    }

    /// The slots of a chunk, where it exists.
    @inline(__always)
    func chunk(_ index: Int) -> UnsafeMutablePointer<PageTable.Slot>? { index < chunks.count ? chunks[index] : nil }

    /// Makes the chunk `index`, which does not exist, with zeros in every slot; or, where it is not `initialized`, for the
    /// caller to fill at once.
    mutating func make(_ index: Int, initialized: Bool = true) -> UnsafeMutablePointer<PageTable.Slot> {
        let made = UnsafeMutablePointer<PageTable.Slot>.allocate(capacity: chunkPages)
        if initialized { made.initialize(repeating: .zeros, count: chunkPages) }
        put(made, at: index)
        return made
    }

    /// Takes over an allocation of `chunkPages` initialized slots.
    mutating func put(_ chunk: UnsafeMutablePointer<PageTable.Slot>, at index: Int) {
        if index >= chunks.count { chunks.append(contentsOf: repeatElement(nil, count: index + 1 - chunks.count)) }
        chunks[index] = chunk
    }

    /// Gives a chunk away: it no longer exists here, and the caller owns its memory.
    mutating func take(_ index: Int) -> UnsafeMutablePointer<PageTable.Slot>? {
        guard let chunk = chunk(index) else { return nil }
        chunks[index] = nil
        return chunk
    }

    /// Forgets every page from `floor` on.
    mutating func clear(from floor: Int) {
        let firstWhole = (floor + chunkPages - 1) >> chunkShift
        if floor & (chunkPages - 1) != 0, let chunk = chunk(floor >> chunkShift) {
            for offset in floor & (chunkPages - 1)..<chunkPages { chunk[offset] = .zeros }
        }
        for index in firstWhole..<max(firstWhole, chunks.count) { take(index)?.deallocate() }
    }

    /// Calls `body` for each page that is not `Slot.zeros`, ascending.
    func forEachWritten(_ body: (Int, PageTable.Slot) -> Void) {
        for (index, chunk) in chunks.enumerated() {
            guard let chunk else { continue }
            for offset in 0..<chunkPages where chunk[offset] != .zeros { body(index << chunkShift + offset, chunk[offset]) }
        }
    }

    /// The same slots in memory of their own.
    func copy() -> SlotArray {
        var copy = SlotArray(chunkShift: chunkShift)
        copy.chunks = chunks.map { chunk in
            guard let chunk else { return nil }
            let made = UnsafeMutablePointer<PageTable.Slot>.allocate(capacity: chunkPages)
            made.initialize(from: chunk, count: chunkPages)
            return made
        }
        return copy
    }

    mutating func deallocate() {
        for chunk in chunks { chunk?.deallocate() }
        chunks = []
    }
}
