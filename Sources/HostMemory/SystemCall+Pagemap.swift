internal import CHostMemory
internal import Synchronization
internal import VMTypes

/// Asks the kernel which pages of an address range are in what state (PAGEMAP_SCAN), through one reused buffer.
///
/// Not thread-safe: each owner has its own.
struct PagemapScanner: ~Copyable {
    private let regions: UnsafeMutablePointer<hm_region>
    private let capacity: Int
    /// Regions that arming scans have found, half as many for each that came since: what the next one may find.
    private let expected = Atomic<Int>(0)

    init(capacity: Int = 4096) {
        regions = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit { regions.deallocate() }

    /// From so many regions on, interrupting another processor for each costs more than telling our threads to leave it.
    private static let manyRegions = 8

    /// Which pages to find; `written` is the kernel's fast path.
    struct Query {
        var flags: UInt64 = 0
        var inverted: UInt64 = 0
        var all: UInt64 = 0
        var any: UInt64 = 0
        var returned: UInt64 = 0

        /// Pages without write protection: stored to since it was set, or never armed.
        static let written = Query(flags: HM_SCAN_CHECK, all: HM_PAGE_WRITTEN, returned: HM_PAGE_WRITTEN)
        /// The same, and arms them at once: a store is found by this scan or by the next.
        static let takeWritten = Query(
            flags: HM_SCAN_CHECK | HM_SCAN_PROTECT, all: HM_PAGE_WRITTEN, returned: HM_PAGE_WRITTEN)
        /// Arms what cannot hold a store of the user's: absent pages, the zero page, pages of the file.
        /// Kind and protection are looked at and set under the page table's lock, so no store slips between.
        static let armClean = Query(
            flags: HM_SCAN_CHECK | HM_SCAN_PROTECT, inverted: HM_PAGE_SWAPPED | HM_PAGE_PRESENT,
            all: HM_PAGE_SWAPPED, any: HM_PAGE_PRESENT | HM_PAGE_FILE | HM_PAGE_ZERO)
        /// Pages that exist, as one kind: the page tables that were touched. A page table that does not exist
        /// would read as written, in full.
        static let existing = Query(flags: HM_SCAN_CHECK, any: HM_PAGE_PRESENT | HM_PAGE_SWAPPED)
        /// Arms absent pages of a file's memory; looked at and armed at once.
        static let armAbsent = Query(
            flags: HM_SCAN_CHECK | HM_SCAN_PROTECT, inverted: HM_PAGE_SWAPPED | HM_PAGE_PRESENT,
            all: HM_PAGE_SWAPPED | HM_PAGE_PRESENT)
        /// Pages that are in memory without write protection; the second query arms them at once.
        static let writtenPresent = Query(
            flags: HM_SCAN_CHECK, all: HM_PAGE_WRITTEN | HM_PAGE_PRESENT, returned: HM_PAGE_WRITTEN)
        static let takeWrittenPresent = Query(
            flags: HM_SCAN_CHECK | HM_SCAN_PROTECT, all: HM_PAGE_WRITTEN | HM_PAGE_PRESENT)
        /// Pages that are in memory.
        static let present = Query(all: HM_PAGE_PRESENT, returned: HM_PAGE_PRESENT)
    }

    /// Calls `body` with each region found, in order. On a throw, regions already given have been handled.
    func scan(_ range: Range<UInt64>, _ query: Query, _ body: (Range<UInt64>) -> Void) throws(StoreError) {
        var scan = hm_scan()
        scan.flags = query.flags
        scan.start = range.lowerBound
        scan.end = range.upperBound
        scan.vec = UInt64(UInt(bitPattern: regions))
        scan.vec_len = UInt64(capacity)
        scan.category_inverted = query.inverted
        scan.category_mask = query.all
        scan.category_anyof_mask = query.any
        scan.return_mask = query.returned
        let arms = query.flags & HM_SCAN_PROTECT != 0
        let expected = arms ? self.expected.load(ordering: .relaxed) : 0
        let stopsCompanions = expected >= Self.manyRegions
        var armed = 0
        defer { if arms { self.expected.store(max(armed, expected / 2), ordering: .relaxed) } }
        while scan.start < scan.end {
            let count = try SystemCall.check("PAGEMAP_SCAN") {
                if !stopsCompanions { return Int(hm_pagemap_scan(hm_pagemap(), &scan)) }
                return CompanionThread.whileAsleep { Int(hm_pagemap_scan(hm_pagemap(), &scan)) }
            }
            armed += count
            for index in 0..<count { body(regions[index].start..<regions[index].end) }
            guard scan.walk_end > scan.start else { return }
            scan.start = scan.walk_end
        }
    }

    /// Arms every page of the page tables that exist in the range.
    func armAll(_ range: Range<UInt64>) throws(StoreError) {
        try scan(range, .takeWritten) { _ in }
    }
}
