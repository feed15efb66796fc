internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

/// Tracking by the kernel's asynchronous write protection.
///
/// Nothing is armed when memory is mapped: that would cost page tables for all of it. A page table that does not
/// exist holds no store, and is left alone. When a table is first seen with a page in it, what cannot hold a store
/// there (absent pages, zero pages, pages of the file) is armed, atomically with the look; what is left unarmed has
/// been stored to, or was swapped out unseen. From then on the table is *armed* and the kernel's fast scan is exact;
/// only armed tables are scanned. A store into a table that is touched after the look is found by the next call.
final class AsyncTracker: DirtyTracker {
    /// Bytes that one page table maps.
    private static let tableShift: UInt64 = 21

    private let range: Range<UInt64>
    private let firstPage: Int
    private let firstTable: Int
    private var isArmed: [Bool]
    private var unarmedCount: Int
    private var touched: [Range<Int>] = []
    private let protections: ProtectionTable
    private let scanner = PagemapScanner()
    /// Names the pages that are poisoned.
    private let region: DemandRegion?

    init(base: UInt64, pages: PageRange, protections: ProtectionTable, region: DemandRegion?) {
        range = base..<base + UInt64(pages.count) << UInt64(Page.shift)
        firstPage = pages.start
        firstTable = Int(range.lowerBound >> Self.tableShift)
        let count = Int((range.upperBound - 1) >> Self.tableShift) - firstTable + 1
        isArmed = Array(repeating: false, count: count)
        unarmedCount = count
        self.protections = protections
        self.region = region
    }

    func stop() {}

    func take(into runs: inout [PageRange]) throws(StoreError) {
        if Mutant.isPlanted(.armedAfterTheLook) {
            try find(.written, &runs)
            return try scanner.armAll(range)
        }
        try find(.takeWritten, &runs)
    }

    func peek(into runs: inout [PageRange]) throws(StoreError) { try find(.written, &runs) }

    private func find(_ query: PagemapScanner.Query, _ runs: inout [PageRange]) throws(StoreError) {
        try armNewTables()
        let first = runs.count
        if unarmedCount == 0 {
            try scan(range, query, &runs)
        } else {
            try forEachTableRun(armed: true) { tables throws(StoreError) in
                try self.scan(self.addresses(tables), query, &runs)
            }
        }
        if let region, !region.state.withLock({ $0.poisoned.isEmpty }) { leaveOutPoisoned(region, &runs, from: first) }
    }

    private func scan(
        _ part: Range<UInt64>, _ query: PagemapScanner.Query, _ runs: inout [PageRange]
    ) throws(StoreError) {
        let base = range.lowerBound, firstPage = firstPage
        try scanner.scan(part, query) { found in
            runs.appendRun(
                start: firstPage + Int((found.lowerBound - base) >> UInt64(Page.shift)),
                end: firstPage + Int((found.upperBound - base) >> UInt64(Page.shift)))
        }
    }

    /// Arms the tables that were touched since the last call.
    private func armNewTables() throws(StoreError) {
        guard unarmedCount > 0 else { return }
        touched.removeAll(keepingCapacity: true)
        try forEachTableRun(armed: false) { tables throws(StoreError) in
            try self.scanner.scan(self.addresses(tables), .existing) { found in
                let start = Int(found.lowerBound >> Self.tableShift) - self.firstTable
                let end = Int((found.upperBound - 1) >> Self.tableShift) - self.firstTable + 1
                if let last = self.touched.indices.last, self.touched[last].upperBound >= start {
                    self.touched[last] = self.touched[last].lowerBound..<max(end, self.touched[last].upperBound)
                } else {
                    self.touched.append(start..<end)
                }
            }
        }
        for tables in touched {
            try scanner.scan(addresses(tables), .armClean) { _ in }
            markArmed(tables)
        }
    }

    func isClean(_ pages: PageRange) throws(StoreError) -> Bool {
        let tables = table(of: pages.start)..<table(of: pages.end - 1) + 1
        // One that is not armed was never looked at: its pages are armed where that is due, or read as stored to.
        if !tables.allSatisfy({ isArmed[$0] }) { try armNewTables() }
        for table in tables where isArmed[table] {
            var isClean = true
            let part = addresses(table..<table + 1)
            try scanner.scan(part.clamped(to: address(of: pages.start)..<address(of: pages.end)), .written) { _ in isClean = false }
            if !isClean { return false }
        }
        return true
    }

    func exchange(_ pages: PageRange, _ body: (Int32) throws(StoreError) -> Void) throws(StoreError) -> Bool {
        guard try isClean(pages) else { return false }
        // Page tables that are no more; one that another mapping shares, or that is as it was, is looked at anew.
        defer {
            for table in table(of: pages.start)...table(of: pages.end - 1) where isArmed[table] {
                isArmed[table] = false
                unarmedCount += 1
            }
        }
        try body(protections.bits(pages.start))
        return true
    }

    /// Arms what was copied into memory while mapping: nobody has stored to it yet.
    func armCopied(_ copies: [PageRange]) throws(StoreError) {
        var next = 0
        for run in copies {
            let start = max(next, table(of: run.start)), end = table(of: run.end - 1) + 1
            guard start < end else { continue }
            try scanner.armAll(addresses(start..<end))
            markArmed(start..<end)
            next = end
        }
    }

    private func table(of page: Int) -> Int { Int(address(of: page) >> Self.tableShift) - firstTable }

    private func address(of page: Int) -> UInt64 {
        range.lowerBound + UInt64(page - firstPage) << UInt64(Page.shift)
    }

    private func addresses(_ tables: Range<Int>) -> Range<UInt64> {
        let start = UInt64(firstTable + tables.lowerBound) << Self.tableShift
        let end = UInt64(firstTable + tables.upperBound) << Self.tableShift
        return max(start, range.lowerBound)..<min(end, range.upperBound)
    }

    private func markArmed(_ tables: Range<Int>) {
        for table in tables where !isArmed[table] {
            isArmed[table] = true
            unarmedCount -= 1
        }
    }

    private func forEachTableRun(
        armed: Bool, _ body: (Range<Int>) throws(StoreError) -> Void
    ) throws(StoreError) {
        var index = 0
        while index < isArmed.count {
            let start = index
            while index < isArmed.count && isArmed[index] == armed { index += 1 }
            if index > start { try body(start..<index) }
            while index < isArmed.count && isArmed[index] != armed { index += 1 }
        }
    }

    /// A poisoned page reads as written once; it holds no store.
    private func leaveOutPoisoned(_ region: DemandRegion, _ runs: inout [PageRange], from first: Int) {
        let poisoned = region.state.withLock { $0.poisoned }
        let found = Array(runs[first...])
        runs.removeLast(found.count)
        for run in found {
            var start = run.start
            for page in run.start..<run.end where poisoned.contains(page) {
                runs.appendRun(start: start, end: page)
                start = page + 1
            }
            runs.appendRun(start: start, end: run.end)
        }
    }

    func rearm(_ pages: PageRange) throws(StoreError) {
        try SystemCall.writeProtect(address(of: pages.start), pages.count << Page.shift)
    }

    func replacing(_ pages: PageRange, _ body: () throws(StoreError) -> Void) throws(StoreError) {
        let start = address(of: pages.start), length = pages.count << Page.shift
        let bits = protections.bits(pages.start)
        let isWritable = bits & (PROT_READ | PROT_WRITE) == PROT_READ | PROT_WRITE
        if !isWritable { try SystemCall.protect(start, length, PROT_READ | PROT_WRITE) }
        var failure: StoreError?
        do throws(StoreError) { try body() } catch { failure = error }
        if !isWritable { try SystemCall.protect(start, length, bits) }
        if let failure { throw failure }
        try rearm(pages)
    }

    func protect(_ pages: PageRange, _ bits: Int32) throws(StoreError) {
        try SystemCall.protect(address(of: pages.start), pages.count << Page.shift, bits)
        protections.set(pages, bits)
    }
}
