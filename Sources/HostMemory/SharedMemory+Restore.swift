internal import Glibc
public import VMTypes

extension SharedMemory {
    /// Overwrites exactly these pages with the provider's committed bytes, in place, for all mappings; afterwards they are
    /// clean.
    ///
    /// The caller took the dirty set before, and keeps threads that store to these pages away meanwhile; loads see old
    /// bytes or new ones. Accesses that raised SIGBUS since a fill failed work again.
    ///
    /// - Throws: The provider's errors. Pages after the failed ones keep what they held.
    public func restore(_ ranges: [PageRange]) throws(StoreError) {
        for range in ranges { try checkLive(range) }
        try locked { () throws(StoreError) in
            let buffer = FillBuffer()
            countGeneration()
            for range in ranges where range.count > 0 {
                try heal(range)
                for run in try provider.checkedRuns(in: range) { try overwrite(run.pages, run.kind, buffer) }
                for placement in placements.values {
                    let part = range.intersection(placement.live)
                    if part.count > 0 { try placement.tracker?.rearm(part) }
                }
            }
        }
    }

    private func overwrite(_ pages: PageRange, _ kind: RunKind, _ buffer: borrowing FillBuffer) throws(StoreError) {
        switch kind {
        case .zero: try SystemCall.punch(file, inFile(pages))
        case .beyondEnd: throw StoreError(.invalid, "Page \(pages.start) is beyond the object's end")
        case .file, .fill:
            // Absent pages that are filled on demand may stay absent, where nobody else's faults count.
            let mayStayAbsent = demandFill && !isExported
            var wanted = mayStayAbsent ? demand.missing(in: pages) : [pages]
            if mayStayAbsent {
                try SystemCall.forEachPresentRun(file, inFile(pages)) { run in
                    wanted.insertRun(PageRange(start: run.start - self.firstFilePage, count: run.count))
                }
            }
            for run in wanted {
                var next = run.start
                while next < run.end {
                    let chunk = PageRange(start: next, count: min(FillBuffer.pages, run.end - next))
                    try provider.fill(chunk, into: buffer.pointer)
                    try SystemCall.write(buffer.pointer, file, inFile(chunk))
                    next = chunk.end
                }
            }
        }
        if !demandFill { filled.insertRun(pages) }
    }

    /// Gives the memory of clean pages back; they come again through the provider when they are touched.
    ///
    /// The caller keeps threads that store to these pages away meanwhile: what they store is lost.
    ///
    /// - Throws: `.wrongState` where nothing fills on demand, or where another process may have a descriptor;
    ///   `.full` at the host's limit of mappings. Nothing is discarded then.
    public func discard(_ ranges: [PageRange]) throws(StoreError) {
        for range in ranges { try checkLive(range) }
        try locked { () throws(StoreError) in
            guard demandFill, !isExported else {
                throw StoreError(
                    .wrongState, "Pages can't be discarded: absent ones would read as zeros"
                        + (isExported ? " in other processes" : ""))
            }
            for range in ranges where range.count > 0 {
                try extendDemand(Self.demandRuns(provider, in: range))
            }
            // What was fetched before the last commit must not come after it.
            countGeneration()
            for range in ranges { try SystemCall.punch(file, inFile(range)) }
        }
    }
}
