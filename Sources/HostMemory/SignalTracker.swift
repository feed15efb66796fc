internal import CHostMemory
internal import Glibc
internal import VMTypes

/// Tracking by read-only memory and a SIGSEGV handler.
///
/// The handler holds a shared lock, this type's methods the exclusive one (`exclusively`). Under the shared lock a
/// page's bit is set before the page becomes writable, and nothing clears bits. Under the exclusive lock no
/// handler runs, so between any two of its holders: *writable implies marked*. `take` makes marked pages read-only
/// first and clears their bits then, all within the lock. A store thus happened either before its page became
/// read-only, and the bit is among those taken now; or it faults, waits for the lock, and sets the bit anew.
/// Holders never touch the memory of a page that is not writable, and block signals, so they can't wait for
/// themselves.
final class SignalTracker: DirtyTracker {
    private let tracked: UnsafeMutablePointer<hm_tracked>
    private let words: UnsafeMutablePointer<UInt64>
    private let wordCount: Int
    private let base: UInt64
    private let pages: PageRange
    private let protections: ProtectionTable
    private let saved: UnsafeMutableRawPointer
    private var isRunning = true
    private var found: [PageRange] = []

    init(base: UInt64, pages: PageRange, protections: ProtectionTable) throws(StoreError) {
        wordCount = (pages.count + 63) / 64
        guard let memory = calloc(max(1, wordCount), 8) else { throw SystemCall.error("calloc", errno: ENOMEM) }
        words = memory.bindMemory(to: UInt64.self, capacity: max(1, wordCount))
        self.base = base
        self.pages = pages
        self.protections = protections
        saved = .allocate(byteCount: 128, alignment: 16)
        tracked = .allocate(capacity: 1)
        tracked.initialize(to: hm_tracked())
        tracked.pointee.base = base
        tracked.pointee.page_count = UInt64(pages.count)
        tracked.pointee.dirty = words
        tracked.pointee.protection = protections.bytes
        do {
            try SystemCall.check("sigaction") { Int(hm_track_start(Self.openingLimit)) }
            try SystemCall.check("adding a tracked range") { Int(hm_track_add(tracked)) }
        } catch {
            isRunning = false
            throw error
        }
    }

    deinit {
        stop()
        tracked.deallocate()
        saved.deallocate()
        free(words)
    }

    func stop() {
        guard isRunning else { return }
        isRunning = false
        // A forked child's registry is dead, and its lock may be held for ever.
        guard hm_is_forked_child() == 0 else { return }
        hm_track_remove(tracked)
    }

    /// Openings beyond which whole runs are opened.
    static var openingLimit: Int64 { Int64(max(1, HostCapabilities.current.maximumMappings / 4)) }

    private func exclusively(_ body: () throws(StoreError) -> Void) throws(StoreError) {
        hm_track_lock(tracked, saved)
        defer { hm_track_unlock(tracked, saved) }
        try body()
    }

    private func address(of page: Int) -> UInt64 { base + UInt64(page - pages.start) << UInt64(Page.shift) }

    /// Protects a run as an unmarked one: what was asked for, without stores.
    private func close(_ run: PageRange) throws(StoreError) {
        try protections.forEachRun(in: run) { part, bits throws(StoreError) in
            try SystemCall.protect(self.address(of: part.start), part.count << Page.shift, bits & ~PROT_WRITE)
        }
    }

    private func forEachMarkedRun(in part: PageRange, _ body: (PageRange) -> Void) {
        guard part.count > 0 else { return }
        var start = -1
        let low = part.start - pages.start, high = part.end - pages.start
        for word in low / 64..<(high + 63) / 64 {
            let bits = words[word]
            let first = max(low, word * 64), end = min(high, word * 64 + 64)
            if bits == 0 || bits == .max {
                if bits == 0, start >= 0 { body(PageRange(start: pages.start + start, count: first - start)) }
                start = bits == 0 ? -1 : (start >= 0 ? start : first)
                continue
            }
            for page in first..<end {
                let isMarked = bits >> UInt64(page & 63) & 1 != 0
                if isMarked, start < 0 { start = page }
                if !isMarked, start >= 0 {
                    body(PageRange(start: pages.start + start, count: page - start))
                    start = -1
                }
            }
        }
        if start >= 0 { body(PageRange(start: pages.start + start, count: high - start)) }
    }

    private func clearMarks(_ run: PageRange) {
        var page = run.start - pages.start
        let end = run.end - pages.start
        while page < end {
            let low = page & 63, count = min(64 - low, end - page)
            let mask = (count == 64 ? UInt64.max : (1 << UInt64(count)) - 1) << UInt64(low)
            words[page >> 6] &= ~mask
            page += count
        }
    }

    func take(into runs: inout [PageRange]) throws(StoreError) { try take(pages, into: &runs) }

    func peek(into runs: inout [PageRange]) throws(StoreError) { try peek(pages, into: &runs) }

    /// Takes those of `part`.
    func take(_ part: PageRange, into runs: inout [PageRange]) throws(StoreError) {
        try exclusively { () throws(StoreError) in
            self.findMarked(part)
            var closed = part.count == self.pages.count ? Int64.max : 0
            for run in self.found {
                // A run that can't be closed (the host's limit of mappings) stays marked: dirty again next time.
                guard (try? self.close(run)) != nil else { continue }
                self.clearMarks(run)
                if closed != .max { closed += Int64(run.count) }
            }
            hm_track_closed(self.tracked, closed)
        }
        for run in found { runs.appendRun(start: run.start, end: run.end) }
    }

    func peek(_ part: PageRange, into runs: inout [PageRange]) throws(StoreError) {
        try exclusively { () throws(StoreError) in self.findMarked(part) }
        for run in found { runs.appendRun(start: run.start, end: run.end) }
    }

    /// Lets no more stores into `part`, and appends those of its pages that are marked. Another mapping may be placed
    /// there.
    func leave(_ part: PageRange, into runs: inout [PageRange]) throws(StoreError) {
        try exclusively { () throws(StoreError) in
            self.protections.forget(part)
            self.findMarked(part)
            self.clearMarks(part)
            hm_track_closed(self.tracked, self.found.reduce(0) { $0 + Int64($1.count) })
        }
        for run in found { runs.appendRun(start: run.start, end: run.end) }
    }

    private func findMarked(_ part: PageRange) {
        found.removeAll(keepingCapacity: true)
        forEachMarkedRun(in: part) { self.found.append($0) }
    }

    func rearm(_ pages: PageRange) throws(StoreError) {
        try exclusively { () throws(StoreError) in
            try self.close(pages)
            self.clearMarks(pages)
        }
    }

    func replacing(_ pages: PageRange, _ body: () throws(StoreError) -> Void) throws(StoreError) {
        try exclusively { () throws(StoreError) in
            // Marked before it is writable, as the handler does it: a failure leaves the pages dirty.
            for page in pages.start - self.pages.start..<pages.end - self.pages.start {
                self.words[page >> 6] |= 1 << UInt64(page & 63)
            }
            try SystemCall.protect(self.address(of: pages.start), pages.count << Page.shift, PROT_READ | PROT_WRITE)
            var failure: StoreError?
            do throws(StoreError) { try body() } catch { failure = error }
            try self.close(pages)
            if let failure { throw failure }
            self.clearMarks(pages)
        }
    }

    func isClean(_ pages: PageRange) throws(StoreError) -> Bool {
        try exclusively { () throws(StoreError) in self.findMarked(pages) }
        return found.isEmpty
    }

    /// No store is lost: unmarked pages are not writable, and handlers wait.
    func exchange(_ pages: PageRange, _ body: (Int32) throws(StoreError) -> Void) throws(StoreError) -> Bool {
        try exclusively { () throws(StoreError) in
            self.findMarked(pages)
            if self.found.isEmpty { try body(self.protections.bits(pages.start) & ~PROT_WRITE) }
        }
        return found.isEmpty
    }

    func protect(_ pages: PageRange, _ bits: Int32) throws(StoreError) {
        try exclusively { () throws(StoreError) in
            // Marked pages that may be stored to again stay closed: the first store faults and opens them.
            let start = self.address(of: pages.start)
            try SystemCall.protect(start, pages.count << Page.shift, bits & ~PROT_WRITE)
            self.protections.set(pages, bits)
        }
    }
}
