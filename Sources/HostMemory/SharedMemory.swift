internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

/// One object's pages in memory that all of its mappings share.
///
/// The bytes lie in a memory file of its own, or in a slice of an arena's; every mapping maps it shared. Committed bytes
/// come from a `PageProvider` when a page is touched (`demandFill`), or before it is mapped. A page that is in memory is
/// never filled again, unless it is discarded.
///
/// Thread-safe: calls on one memory and its mappings are serialized. Stores and loads by other threads need no lock. A
/// forked child has no such memory, and every call from it throws `.wrongState`.
public final class SharedMemory: @unchecked Sendable {
    /// Pages up to the object's end.
    public let pageCount: Int
    /// How stores through writable mappings are found.
    public let tracking: DirtyTracking
    /// Whether bytes come when they are touched.
    public let demandFill: Bool

    let provider: any PageProvider
    /// The memory file, and the page of it that is our page 0.
    let file: Int32
    let firstFilePage: Int
    /// Where our own mapping of page 0 is.
    let base: UInt64
    let arena: MemoryArena?

    /// Guarded by `lock`, like all that follows.
    var placements: [ObjectIdentifier: SharedPlacement] = [:]
    /// In order: pages that can be absent and yet not zeros. Every mapping has them registered for demand faults.
    var demand: [PageRange] = []
    /// Where nothing fills on demand: the pages that were filled. In order, none touch.
    var filled: [PageRange] = []
    /// Serves faults of our own mapping; nil as long as it has nothing registered.
    var pagerRegion: DemandRegion?
    /// Whether another process may have a descriptor: its absent pages are not served.
    var isExported = false
    /// Whether every access raises SIGBUS.
    var isDestroyed = false
    private let lock = Mutex(())

    /// Makes memory for an object; nothing is filled yet.
    ///
    /// - Parameters:
    ///   - pageCount: Pages up to the object's end; at least 1.
    ///   - arena: Nil gives it a memory file of its own; else it gets a slice of the arena's.
    /// - Throws: The provider's errors; `.unsupported` where the host lacks what `tracking` or `demandFill` needs;
    ///   `.full` at a limit of the host or where the arena has no room.
    public init(
        pageCount: Int, provider: any PageProvider,
        tracking: DirtyTracking = HostCapabilities.current.preferredTracking,
        demandFill: Bool = HostCapabilities.current.demandFaults, arena: MemoryArena? = nil
    ) throws(StoreError) {
        try HostCapabilities.current.check(tracking, demandFill)
        try Userfault.refuseInForkedChild()
        guard pageCount > 0, pageCount < 1 << 34 else {
            throw StoreError(.invalid, "\(pageCount) pages can't be held in memory")
        }
        var demand: [PageRange] = []
        if demandFill {
            demand = try Self.demandRuns(provider, in: PageRange(start: 0, count: pageCount))
        }
        if let arena {
            let slice = try arena.take(pageCount)
            file = arena.file
            firstFilePage = slice.start
            base = arena.base + UInt64(slice.start) << UInt64(Page.shift)
        } else {
            let made = try SystemCall.makeMemoryFile(pages: pageCount)
            do {
                base = try SystemCall.mapPager(made, pages: pageCount)
            } catch {
                close(made)
                throw error
            }
            file = made
            firstFilePage = 0
        }
        self.pageCount = pageCount
        self.provider = provider
        self.tracking = tracking
        self.demandFill = demandFill
        self.arena = arena
        try extendDemand(demand)
    }

    deinit {
        // A forked child shares the file with its parent: it may drop only its descriptor.
        let isOurs = hm_is_forked_child() == 0
        if isOurs, let pagerRegion {
            pagerRegion.state.withLock { $0.isClosed = true }
            FaultService.remove(pagerRegion)
        }
        if let arena {
            guard isOurs else { return }
            let slice = PageRange(start: firstFilePage, count: pageCount)
            // What was registered in the arena's own mapping is made like the rest of it again.
            if pagerRegion != nil { guard (try? arena.remap(slice)) != nil else { return } }
            arena.giveBack(slice)
        } else {
            if isOurs { try? SystemCall.unmap(base, pageCount << Page.shift) }
            close(file)
        }
    }

    /// Whether the memory file is its own.
    var isAlone: Bool { arena == nil }

    /// All pages before the object's end.
    var live: PageRange { PageRange(start: 0, count: pageCount) }

    /// Where a page is in our own mapping: readable and writable whatever protections mappings have, and no store to it
    /// counts as one of the program's. Valid while this object lives.
    ///
    /// Where nothing fills on demand, `fill` or `map` comes first: an absent page reads as zeros. Reading a page that was
    /// never written takes memory for it.
    public func pointer(toPage page: Int) -> UnsafeMutableRawPointer {
        SystemCall.pointer(pagerAddress(of: page))!
    }

    func pagerAddress(of page: Int) -> UInt64 { base &+ UInt64(bitPattern: Int64(page)) << UInt64(Page.shift) }

    /// Pages of the object as pages of the memory file.
    func inFile(_ pages: PageRange) -> PageRange { PageRange(start: pages.start + firstFilePage, count: pages.count) }

    /// The error that the last failed demand fill met, in whichever mapping; the access raised SIGBUS.
    public var lastFillError: StoreError? {
        try? locked { () throws(StoreError) in
            for region in regions { if let error = region.state.withLock({ $0.lastError }) { return error } }
            return nil
        }
    }

    /// Every region that may be placing pages of ours.
    var regions: [DemandRegion] { placements.values.compactMap(\.region) + (pagerRegion.map { [$0] } ?? []) }

    /// Runs `body` under the lock.
    func locked<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        try Userfault.refuseInForkedChild()
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        return try body()
    }

    func checkLive(_ range: PageRange) throws(StoreError) {
        guard range.isWithin(live) else {
            throw StoreError(.invalid, "\(range.text) are not within the memory's \(pageCount) pages")
        }
    }
}
