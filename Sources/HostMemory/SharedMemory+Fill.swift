internal import Glibc
internal import Synchronization
public import VMTypes

extension SharedMemory {
    /// Brings the committed bytes of absent pages into memory, never over pages that are present.
    ///
    /// Needed where nothing fills on demand, before `pointer` is read, and for other processes. Pages of zeros stay
    /// absent.
    ///
    /// - Throws: The provider's errors; what was filled before the failure stays.
    public func fill(_ range: PageRange) throws(StoreError) {
        try checkLive(range)
        try locked { () throws(StoreError) in try fillAbsent(range) }
    }

    /// Under the lock.
    func fillAbsent(_ range: PageRange) throws(StoreError) {
        guard range.count > 0 else { return }
        if demandFill { return try placeAbsent(range) }
        for missing in filled.missing(in: range) {
            for run in try provider.checkedRuns(in: missing) {
                switch run.kind {
                case .file, .fill: try provider.fill(run.pages, into: pointer(toPage: run.pages.start))
                // Absent pages read as zeros.
                case .zero, .beyondEnd: break
                }
            }
            // Zeros too: when they have been stored to and committed, memory is newer than any later fetch.
            filled.insertRun(missing)
        }
    }

    /// Places pages where the kernel has none, atomically: stores of other threads win.
    private func placeAbsent(_ range: PageRange) throws(StoreError) {
        guard let pagerRegion else { return }
        let scratch = FillBuffer()
        let scanner = PagemapScanner(capacity: FillBuffer.pages)
        for part in demand.overlapping(range) {
            var absentRuns: [PageRange] = []
            try SystemCall.forEachAbsentRun(file, firstPage: firstFilePage, part) { absentRuns.append($0) }
            for absent in absentRuns {
                var next = absent.start
                while next < absent.end {
                    let window = PageRange(start: next, count: min(FillBuffer.pages, absent.end - next))
                    if let error = pagerRegion.fill(window, for: -1, scratch, scanner) { throw error }
                    next = window.end
                }
            }
        }
    }
}
