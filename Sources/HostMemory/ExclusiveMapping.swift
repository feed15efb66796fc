internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

/// Pages of one object in this process's memory, mapped once, with the pages that were stored to found on demand.
///
/// Committed bytes come from a `PageProvider`: long runs of its file are mapped privately, never-written pages are
/// zero-fill, and all else is filled when touched (`demandFill`) or copied when mapped. Stores stay in this
/// process. A forked child has no such memory, and every call from it throws `.wrongState`.
///
/// Thread-safe: calls are serialized. Stores and loads by other threads need no lock.
public final class ExclusiveMapping: @unchecked Sendable {
    /// Where the first page is.
    public let address: UInt64
    /// The object's pages that are mapped.
    public let pages: PageRange
    /// Whether stores are allowed at all; if not, nothing is tracked.
    public let writable: Bool
    /// How dirty pages are found.
    public let tracking: DirtyTracking
    /// Whether bytes come when they are touched.
    public let demandFill: Bool

    let provider: any PageProvider
    let protections: ProtectionTable
    let region: DemandRegion?
    /// The pages before the object's end.
    let live: PageRange
    /// Guarded by `lock`, like all that follows; nil for a read-only mapping or one without live pages.
    let tracker: (any DirtyTracker)?
    /// What lies where; `DemandRegion` has the same.
    var plan: MappingPlan
    var ages: TableAges
    /// Where traded pages go; nil until some do, and again when a forked child shows it.
    var shadow: ShadowFile?
    var shadowsMade = 0
    /// The tables that are being copied to the shadow file.
    var copies: [Int: TableCopy] = [:]
    /// Tables whose bytes could not be had or written, by when they were last stored to before.
    var failed: [Int: UInt32] = [:]
    /// Pages of a file that are mapped, and not yet made ready for looks for stores.
    var unprepared: [PageRange] = []
    /// Pages that must stay in memory.
    var wired: [PageRange] = []
    var isMapped = true
    private let lock = Mutex(())

    /// Maps pages of the provider's object.
    ///
    /// - Parameters:
    ///   - address: A page-aligned address in a reserved window; what is mapped there is replaced.
    ///   - pages: The object's pages. They may reach beyond the object's end.
    ///   - minimumRun: Shorter runs of the file are not mapped from it; raised where the host's limit of mappings
    ///     asks for it.
    ///   - spill: Where more bytes than `most` would have to be copied to private memory, now or when they are touched, they
    ///     go to a shadow file now; if that fails, they come to private memory.
    /// - Throws: The provider's errors; `.unsupported` where the host lacks what `tracking` or `demandFill` needs;
    ///   `.full` at a limit of the host. The range is then a bare reservation.
    public init(
        address: UInt64, pages: PageRange, provider: any PageProvider, writable: Bool,
        tracking: DirtyTracking = HostCapabilities.current.preferredTracking,
        demandFill: Bool = HostCapabilities.current.demandFaults, minimumRun: Int = 16,
        spill: (home: ShadowHome, most: UInt64)? = nil
    ) throws(StoreError) {
        try Userfault.refuseInForkedChild()
        guard address % UInt64(Page.size) == 0, address != 0, pages.count > 0, pages.start >= 0,
            pages.count < 1 << 35, pages.start < 1 << 52, address < 1 << 47
        else { throw StoreError(.invalid, "\(pages.text) can't be mapped at \(hexadecimal(address))") }
        try HostCapabilities.current.check(writable ? tracking : nil, demandFill)

        let runs = try provider.checkedRuns(in: pages)
        var plan = MappingPlan(
            runs, pages: pages, minimumRun: minimumRun, demandFill: demandFill, budget: MappingBudget.available)
        let pageNumber = address >> UInt64(Page.shift)
        var shadow: ShadowFile?
        if let spill, UInt64(plan.privatePages(runs)) << UInt64(Page.shift) > spill.most {
            var spilling = MappingPlan(
                runs, pages: pages, minimumRun: minimumRun, demandFill: false, budget: MappingBudget.available)
            if let made = try? ShadowFile(spill.home, pages: pages, generation: 0),
                (try? made.take(&spilling, provider, TableAges(pages: plan.live, firstPageNumber: pageNumber))) != nil {
                plan = spilling
                shadow = made
            }
        }
        let protections = try ProtectionTable(
            pages: pages, standard: writable ? PROT_READ | PROT_WRITE : PROT_READ)
        let arms = writable && tracking == .asyncWriteProtect
        var region: DemandRegion?
        if plan.areas.contains(where: { $0.backing == .demand }) {
            region = DemandRegion(base: address, pages: pages, plan: plan, provider: provider, arms: arms)
        }
        var tracker: (any DirtyTracker)?
        do {
            let layout = MappingLayout(address: address, pages: pages, plan: plan, provider: provider, shadow: shadow)
            try layout.mapMemory(writable: writable, preferSmallPages: arms)
            if let region { FaultService.add(region) }
            try layout.register(arms: arms)
            if writable, plan.live.count > 0 {
                switch tracking {
                case .asyncWriteProtect:
                    let made = AsyncTracker(
                        base: address, pages: plan.live, protections: protections, region: region)
                    try made.armCopied(plan.copies)
                    tracker = made
                case .signal:
                    tracker = try SignalTracker(base: address, pages: plan.live, protections: protections)
                    try SystemCall.protect(address, plan.live.count << Page.shift, PROT_READ)
                }
            }
        } catch {
            if let region {
                region.state.withLock { $0.isClosed = true }
                FaultService.remove(region)
            }
            tracker?.stop()
            try? SystemCall.reserve(address, pages.count << Page.shift)
            throw error
        }
        MappingBudget.use(plan.areas.count)
        self.address = address
        self.pages = pages
        self.writable = writable
        self.tracking = tracking
        self.demandFill = demandFill
        self.provider = provider
        self.plan = plan
        self.protections = protections
        self.region = region
        self.tracker = tracker
        live = plan.live
        self.shadow = shadow
        if shadow != nil { shadowsMade = 1 }
        ages = TableAges(pages: plan.live, firstPageNumber: pageNumber)
        ages.stored(plan.copies[...])
    }

    deinit { unmap() }

    /// Where a page of the object is in memory. The pointer is valid until `unmap`.
    public func pointer(toPage page: Int) -> UnsafeMutableRawPointer {
        SystemCall.pointer(address(of: page))!
    }

    func address(of page: Int) -> UInt64 {
        address &+ UInt64(bitPattern: Int64(page - pages.start)) << UInt64(Page.shift)
    }

    /// The error that the last failed demand fill met; the access raised SIGBUS.
    public var lastFillError: StoreError? { region?.state.withLock { $0.lastError } }

    /// Whether an access to the page raises SIGBUS, since it could not be filled.
    public func isPoisoned(_ page: Int) -> Bool { region?.state.withLock { $0.poisoned.contains(page) } ?? false }

    /// Makes the range a bare reservation again. What was stored and not taken is lost. A second call does nothing.
    public func unmap() {
        guard hm_is_forked_child() == 0 else { return }
        lock.withLock { _ in
            guard isMapped else { return }
            isMapped = false
            // Closed first: nothing is placed once another mapping may be at these addresses.
            region?.state.withLock { $0.isClosed = true }
            try? SystemCall.reserve(address, pages.count << Page.shift)
            try? SystemCall.advise(address, pages.count << Page.shift, Int32(MADV_DONTFORK))
            tracker?.stop()
            if let region { FaultService.remove(region) }
            MappingBudget.use(-plan.areas.count)
            retireShadow()
        }
    }

    /// Runs `body` under the lock, where the memory is still mapped.
    func whileMapped<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        try Userfault.refuseInForkedChild()
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        guard isMapped else {
            throw StoreError(.wrongState, "The mapping at \(hexadecimal(address)) was unmapped")
        }
        return try body()
    }

    /// Refuses pages that are not mapped, or lie beyond the object's end.
    func checkLive(_ range: PageRange) throws(StoreError) {
        guard range.isWithin(live) else {
            throw StoreError(.invalid, "\(range.text) are not within the mapped \(live)")
        }
    }
}
