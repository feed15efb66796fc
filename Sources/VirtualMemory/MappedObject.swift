internal import Glibc
internal import HostMemory
internal import PageStore
internal import VMTypes

/// An object in this process's memory: where its pages live, where they are mapped, and what is known of their changes.
///
/// Guarded by the store's lock.
final class MappedObject {
    /// Where the pages of a mapped object live.
    enum Home {
        /// In its only mapping.
        case exclusive(ExclusiveMapping)
        /// In memory that all of its mappings share.
        case shared(SharedMemory)
    }

    let id: ObjectID
    let home: Home
    let pager: any PageProvider
    /// The pager, where a memory manager answers for the pages: no commit makes them durable.
    let managed: ManagedPager?
    let size: UInt64
    /// The mappings of shared memory, by address; no two overlap, in whatever task.
    private(set) var mappings: [SharedMapping] = []
    /// Pages that the program said it writes, since the last commit.
    var declared: [PageRange] = []
    /// Some pages of an exclusive mapping may not be read through it: a commit copies them out first.
    var isRestricted = false
    /// Changed pages that the kernel has been asked about and has forgotten: what a commit takes or abandoning restores.
    /// They leave this list when they are in a version, or restored.
    var pending: [PageRange] = []
    /// A commit made the object: the pager still answers from what it was made of.
    var needsView = false
    /// What a copy that no commit has made yet was made of.
    let base: CopyBase?
    /// Of a copy that vm_copy showed in the place of other memory, until a commit makes it.
    var replaced: [Replaced] = []
    /// Memory entries, and ports of other processes, that need the object.
    var handles = 0
    /// Another process was given a writable descriptor, and may have stored since the last `gather`.
    var isGivenOut = false
    /// Forked children that share the memory, and may have stored since the last `gather`.
    var children: [ForkedLife] = []
    /// A child shares it of which nothing can be learned.
    var isSharedForEver = false

    /// A committed state that a copy begins with.
    struct CopyBase {
        var source: ObjectID
        var version: Version
    }

    init(id: ObjectID, home: Home, pager: any PageProvider, size: UInt64, base: CopyBase? = nil) {
        self.id = id
        self.home = home
        self.pager = pager
        managed = pager as? ManagedPager
        self.size = size
        self.base = base
    }

    deinit { managed?.end(ManagedPager.Ending(reason: "nothing shows it any more")) }

    /// The store's own pager.
    var storePager: StorePager? { pager as? StorePager }

    /// Pages up to the object's end.
    var livePages: PageRange { PageRange(start: 0, count: Page.count(forBytes: Int(size))) }

    /// The pages that memory of this process may hold other than committed.
    var heldPages: PageRange {
        switch home {
        case .exclusive(let mapping): mapping.pages.intersection(livePages)
        case .shared: livePages
        }
    }

    var isMapped: Bool {
        switch home {
        case .exclusive: true
        case .shared: !mappings.isEmpty
        }
    }

    /// Whether it holds what a commit has yet to take, or its manager.
    var isNeeded: Bool { !pending.isEmpty || managed?.hasUnreturned == true }

    var isWritable: Bool {
        switch home {
        case .exclusive(let mapping): mapping.writable
        case .shared: true
        }
    }

    /// Where page 0 of the object is or would be.
    var origin: UnsafeRawPointer {
        switch home {
        case .exclusive(let mapping):
            UnsafeRawPointer(bitPattern: UInt(mapping.address) &- UInt(mapping.pages.start) &* UInt(Page.size))!
        case .shared(let shared): UnsafeRawPointer(shared.pointer(toPage: 0))
        }
    }

    var layer: LayerInput { LayerInput(object: id, size: size, runs: pending, origin: origin) }

    /// The error that a page of it could not be filled for, last.
    var lastFillError: StoreError? {
        switch home {
        case .exclusive(let mapping): mapping.lastFillError
        case .shared(let shared): shared.lastFillError
        }
    }

    // MARK: What was changed

    /// Moves what was stored to from the kernel's account to `pending`; what a failing host had told until then too.
    func gather() throws(StoreError) {
        guard isWritable else { return }
        try gatherForeign()
        let isFresh = pending.isEmpty && mappings.count < 2
        defer { if !isFresh { pending = joined(pending) } }
        switch home {
        case .exclusive(let mapping): try mapping.takeDirty(into: &pending)
        case .shared: for mapping in mappings { try mapping.takeDirty(into: &pending) }
        }
    }

    /// What was stored to since the last `gather`, left where it is.
    func peek() throws(StoreError) -> [PageRange] {
        var runs: [PageRange] = []
        switch home {
        case .exclusive(let mapping): if mapping.writable { try mapping.peekDirty(into: &runs) }
        case .shared:
            for mapping in mappings { try mapping.peekDirty(into: &runs) }
            try peekForeign(into: &runs)
        }
        return joined(runs)
    }

    /// Notes pages that the program says it writes.
    func declare(_ pages: PageRange) {
        guard !pages.isEmpty else { return }
        if let last = declared.last, pages.start >= last.start, pages.start <= last.end {
            declared[declared.count - 1].count = max(last.end, pages.end) - last.start
        } else {
            declared.append(pages)
        }
    }

    // MARK: Bytes

    /// Copies whole pages as memory holds them, whatever protection they have.
    func copyOut(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
        switch home {
        case .exclusive(let mapping): try mapping.copyOut(range, into: destination)
        case .shared(let shared):
            try shared.fill(range)
            memcpy(destination, shared.pointer(toPage: range.start), range.count << Page.shift)
        }
    }

    /// Puts the committed bytes back into exactly these pages, in place.
    func restore(_ runs: [PageRange]) throws(StoreError) {
        switch home {
        case .exclusive(let mapping): try mapping.restore(runs.compactMap { $0.clipped(to: mapping.pages) })
        case .shared(let shared):
            try unpack()
            try shared.restore(runs.compactMap { $0.clipped(to: livePages) })
        }
    }

    /// Puts the packed pages of a copy into its memory, where they have not been touched: before a commit takes them, and
    /// before other bytes are to be there.
    func unpack() throws(StoreError) {
        guard case .shared(let shared) = home, let storePager, let packed = storePager.packed else { return }
        try packed.forEach(in: livePages) { (run, bytes) throws(StoreError) in try shared.storeAbsent(run, from: bytes) }
        storePager.forgetPacked()
    }

    // MARK: Mappings of shared memory

    /// The page of memory that shows the object's first byte. Memory has a page at least; that of an object without bytes
    /// lies beyond its end.
    var pageOfOffset0: Int { size == 0 ? 1 : 0 }

    /// Shows pages of shared memory at a range of addresses, in place of what was there.
    func map(_ range: Range<UInt64>, offset: UInt64, _ protection: Protection) throws(StoreError) {
        guard case .shared(let shared) = home else { return }
        let pages = PageRange(start: Int(offset >> UInt64(Page.shift)) + pageOfOffset0, count: range.count >> Page.shift)
        let mapping = try shared.map(at: range.lowerBound, pages: pages, protection: protection, writable: true)
        mappings.insert(mapping, at: firstMapping(endingAfter: range.lowerBound))
    }

    /// The mappings that overlap a range of addresses.
    func mappings(in range: Range<UInt64>) -> ArraySlice<SharedMapping> {
        let first = firstMapping(endingAfter: range.lowerBound)
        var end = first
        while end < mappings.count, mappings[end].address < range.upperBound { end += 1 }
        return mappings[first..<end]
    }

    /// Makes a range of addresses a bare reservation; what was stored to there becomes pending.
    func unmap(_ range: Range<UInt64>) throws(StoreError) {
        defer { pending = joined(pending) }
        // By index: a slice would hold on to the whole list, which would then be copied.
        var index = firstMapping(endingAfter: range.lowerBound)
        while index < mappings.count, let part = mappings[index].pages(in: range) {
            let rest = try mappings[index].unmap(part, dirty: &pending)
            mappings.replaceSubrange(index...index, with: rest)
            index += rest.count
        }
    }

    /// Makes every address at which it is mapped a bare reservation; what was stored is lost.
    func unmapAll() {
        switch home {
        case .exclusive(let mapping): mapping.unmap()
        case .shared:
            for mapping in mappings {
                var lost: [PageRange] = []
                _ = try? mapping.unmap(mapping.pages, dirty: &lost)
            }
            mappings = []
        }
    }

    private func firstMapping(endingAfter address: UInt64) -> Int {
        var low = 0, high = mappings.count
        while low < high {
            let middle = (low + high) / 2
            if mappings[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension SharedMapping {
    /// The addresses that it covers.
    var range: Range<UInt64> { address..<address + UInt64(pages.count) << UInt64(Page.shift) }

    /// The pages that it shows within a range of addresses; nil where the two don't overlap.
    func pages(in range: Range<UInt64>) -> PageRange? {
        let part = self.range.clamped(to: range)
        guard !part.isEmpty else { return nil }
        return PageRange(
            start: pages.start + Int(part.lowerBound - address) >> Page.shift, count: part.count >> Page.shift)
    }
}
