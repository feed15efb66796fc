internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

/// Tracking of shared memory by the kernel's asynchronous write protection, as `AsyncTracker` does it.
///
/// Every page of a memory file looks alike to the kernel, so that in a page table that is first seen with a page in it
/// only absent pages are known to hold no store: they are armed, and every page that is present counts as stored to. From
/// then on the table is *armed*, and the scan is exact. Where the kernel may have moved pages to swap space, which takes
/// them out of a table, every page that the memory file has counts at first.
final class SharedAsyncTracker: SharedTracker {
    /// Bytes that one page table maps.
    private static let tableShift: UInt64 = 21

    private let range: Range<UInt64>
    private let pages: PageRange
    private let firstTable: Int
    private var isArmed: [Bool]
    private var unarmedCount: Int
    private var touched: [Range<Int>] = []
    /// What was found by looking at the file, when tables were armed.
    private var suspects: [PageRange] = []
    private let file: Int32
    private let firstFilePage: Int
    private let scanner: PagemapScanner
    /// Names the pages that are poisoned.
    var region: DemandRegion?

    /// - Parameter firstFilePage: The file's page that is the object's page 0.
    init(address: UInt64, pages: PageRange, file: Int32, firstFilePage: Int) {
        SwapActivity.begin()
        self.file = file
        self.firstFilePage = firstFilePage
        range = address..<address + UInt64(pages.count) << UInt64(Page.shift)
        self.pages = pages
        firstTable = Int(range.lowerBound >> Self.tableShift)
        unarmedCount = Int((range.upperBound - 1) >> Self.tableShift) - firstTable + 1
        isArmed = Array(repeating: false, count: unarmedCount)
        scanner = PagemapScanner(capacity: min(4096, pages.count / 2 + 1))
    }

    func remaining(_ part: PageRange, _ region: DemandRegion?) -> any SharedTracker {
        let made = SharedAsyncTracker(
            address: address(of: part.start), pages: part, file: file, firstFilePage: firstFilePage)
        for table in made.isArmed.indices where isArmed[table + made.firstTable - firstTable] {
            made.markArmed(table..<table + 1)
        }
        made.region = region
        return made
    }

    func take(into runs: inout [PageRange]) throws(StoreError) {
        suspects.removeAll(keepingCapacity: true)
        let first = runs.count
        do throws(StoreError) {
            if unarmedCount > 0 { try arm() }
            try forEachTableRun { tables, isArmed throws(StoreError) in
                if isArmed, Mutant.isPlanted(.armedAfterTheLook) {
                    try self.scan(self.addresses(tables), .written, &runs)
                    try self.scanner.armAll(self.addresses(tables))
                } else if isArmed {
                    try self.scan(self.addresses(tables), .takeWritten, &runs)
                }
            }
        } catch {
            // Their tables are armed: nobody would find them again.
            appendSuspects(to: &runs, from: first)
            throw error
        }
        appendSuspects(to: &runs, from: first)
        leaveOutPoisoned(&runs, from: first)
    }

    private func appendSuspects(to runs: inout [PageRange], from first: Int) {
        guard !suspects.isEmpty else { return }
        for run in runs[first...] { suspects.insertRun(run) }
        runs.replaceSubrange(first..., with: suspects)
        suspects.removeAll(keepingCapacity: true)
    }

    private func arm() throws(StoreError) {
        if SwapActivity.mayHaveTakenPages { return try armTablesOfFile() }
        try armNewTables()
        guard SwapActivity.mayHaveTakenPages else { return }
        // Pages may have left their tables between the two looks.
        var found: [PageRange] = []
        for tables in touched { try appendPagesOfFile(addresses(tables), &found) }
        try armTablesOfFile()
        for run in found { suspects.insertRun(run) }
    }

    func peek(into runs: inout [PageRange]) throws(StoreError) { try peek(pages, into: &runs) }

    private func peek(_ part: PageRange, into runs: inout [PageRange]) throws(StoreError) {
        let first = runs.count
        let looksAtFile = unarmedCount > 0 && SwapActivity.mayHaveTakenPages
        try forEachTableRun(in: part) { addresses, isArmed throws(StoreError) in
            if looksAtFile, !isArmed { return try self.appendPagesOfFile(addresses, &runs) }
            try self.scan(addresses, isArmed ? .written : .writtenPresent, &runs)
        }
        leaveOutPoisoned(&runs, from: first)
    }

    func rearm(_ part: PageRange) throws(StoreError) {
        try forEachTableRun(in: part) { addresses, isArmed throws(StoreError) in
            try self.scanner.scan(addresses, isArmed ? .takeWritten : .takeWrittenPresent) { _ in }
        }
    }

    func protect(_ pages: PageRange, _ bits: Int32) throws(StoreError) {
        try SystemCall.protect(address(of: pages.start), pages.count << Page.shift, bits)
    }

    func leave(_ part: PageRange, into runs: inout [PageRange]) throws(StoreError) {
        try SystemCall.protect(address(of: part.start), part.count << Page.shift, PROT_NONE)
        try peek(part, into: &runs)
    }

    private func scan(
        _ part: Range<UInt64>, _ query: PagemapScanner.Query, _ runs: inout [PageRange]
    ) throws(StoreError) {
        let base = range.lowerBound, firstPage = pages.start
        try scanner.scan(part, query) { found in
            runs.appendRun(
                start: firstPage + Int((found.lowerBound - base) >> UInt64(Page.shift)),
                end: firstPage + Int((found.upperBound - base) >> UInt64(Page.shift)))
        }
    }

    /// Arms the tables that were touched since the last call.
    private func armNewTables() throws(StoreError) {
        touched.removeAll(keepingCapacity: true)
        try forEachTableRun { tables, isArmed throws(StoreError) in
            guard !isArmed else { return }
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
            try scanner.scan(addresses(tables), .armAbsent) { _ in }
            markArmed(tables)
        }
    }

    /// Arms the tables where the file has pages, and suspects all of these.
    private func armTablesOfFile() throws(StoreError) {
        touched.removeAll(keepingCapacity: true)
        var present: [PageRange] = []
        try forEachTableRun { tables, isArmed throws(StoreError) in
            if !isArmed { try self.appendPagesOfFile(self.addresses(tables), &present) }
        }
        for run in present {
            let start = Int(address(of: run.start) >> Self.tableShift) - firstTable
            let end = Int(address(of: run.end - 1) >> Self.tableShift) - firstTable + 1
            if let last = touched.last, last.upperBound >= start {
                touched[touched.count - 1] = last.lowerBound..<max(end, last.upperBound)
            } else {
                touched.append(start..<end)
            }
        }
        for tables in touched {
            for table in tables where !isArmed[table] {
                let addresses = addresses(table..<table + 1)
                try scanner.armAll(addresses)
                // Looked at after arming: a store before it is in the file, a later one is found by the scan.
                try appendPagesOfFile(addresses, &suspects)
                markArmed(table..<table + 1)
            }
        }
    }

    private func appendPagesOfFile(_ part: Range<UInt64>, _ runs: inout [PageRange]) throws(StoreError) {
        let start = pages.start + Int((part.lowerBound - range.lowerBound) >> UInt64(Page.shift))
        let count = Int((part.upperBound - part.lowerBound) >> UInt64(Page.shift))
        let first = firstFilePage
        try SystemCall.forEachPresentRun(file, PageRange(start: start + first, count: count)) { run in
            runs.appendRun(start: run.start - first, end: run.end - first)
        }
    }

    private func address(of page: Int) -> UInt64 {
        range.lowerBound + UInt64(page - pages.start) << UInt64(Page.shift)
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

    private func forEachTableRun(_ body: (Range<Int>, Bool) throws(StoreError) -> Void) throws(StoreError) {
        guard unarmedCount > 0 else { return try body(isArmed.indices, true) }
        var index = 0
        while index < isArmed.count {
            let start = index, state = isArmed[index]
            while index < isArmed.count && isArmed[index] == state { index += 1 }
            try body(start..<index, state)
        }
    }

    /// The addresses of `part`, split where tables are armed or not.
    private func forEachTableRun(
        in part: PageRange, _ body: (Range<UInt64>, Bool) throws(StoreError) -> Void
    ) throws(StoreError) {
        let wanted = address(of: part.start)..<address(of: part.end)
        try forEachTableRun { tables, isArmed throws(StoreError) in
            let addresses = self.addresses(tables).clamped(to: wanted)
            if !addresses.isEmpty { try body(addresses, isArmed) }
        }
    }

    /// A poisoned page reads as written; it holds no store.
    private func leaveOutPoisoned(_ runs: inout [PageRange], from first: Int) {
        guard let poisoned = region?.state.withLock({ $0.poisoned }), !poisoned.isEmpty else { return }
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
}
