internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

/// Pages of a provider that is waited for: brought in before a lock is taken under which they are needed.
extension SharedMemory {
    /// The first run of pages in the range that `bring` would have to ask for, or whose accesses raise SIGBUS since it failed.
    public func firstMissing(in range: PageRange) throws(StoreError) -> PageRange? {
        try checkLive(range)
        return try locked { () throws(StoreError) in
            guard demandFill else { return filled.missing(in: range).first }
            var first: PageRange?
            try SystemCall.forEachAbsentRun(file, firstPage: firstFilePage, range) { run in first = first ?? run }
            if let first { return first }
            for region in regions {
                if let page = region.state.withLock({ $0.poisoned.first(where: range.contains) }) {
                    return PageRange(start: page, count: 1)
                }
            }
            return nil
        }
    }

    /// Makes every page of the range present; no lock is held while the provider is waited for. Accesses that raised SIGBUS
    /// since it failed work again.
    ///
    /// - Throws: The provider's errors; what came before the failure stays.
    public func bring(_ range: PageRange) throws(StoreError) {
        guard let provider = provider as? any WaitingPageProvider else { return try fill(range) }
        while let missing = try firstMissing(in: range) {
            guard demandFill else {
                let brought = try provider.bring(cluster(from: missing, provider), for: missing.start)
                try locked { () throws(StoreError) in
                    for part in filled.missing(in: brought.pages.intersection(live)) { try take(part, of: brought) }
                }
                continue
            }
            let region = try locked { () throws(StoreError) in
                try heal(missing)
                return pagerRegion
            }
            guard let region else { return }
            _ = try region.bring(missing.start, within: live, provider)
        }
    }

    /// Puts what the provider gives now in the place of the range's bytes, where nothing fills on demand.
    ///
    /// The caller keeps threads that store to these pages away meanwhile.
    public func replace(_ range: PageRange) throws(StoreError) {
        guard let provider = provider as? any WaitingPageProvider else { return try restore([range]) }
        try checkLive(range)
        var next = range.start
        while next < range.end {
            let rest = PageRange(start: next, count: range.end - next)
            let brought = try provider.bring(cluster(from: rest, provider), for: next)
            let part = brought.pages.intersection(rest)
            try locked { () throws(StoreError) in
                try take(part, of: brought)
                for placement in placements.values {
                    let shown = part.intersection(placement.live)
                    if shown.count > 0 { try placement.tracker?.rearm(shown) }
                }
            }
            next = part.end
        }
    }

    private func cluster(from run: PageRange, _ provider: any WaitingPageProvider) -> PageRange {
        PageRange(start: run.start, count: min(run.count, max(1, provider.clusterPages)))
    }

    private func take(_ part: PageRange, of brought: PageBytes) throws(StoreError) {
        guard part.count > 0 else { return }
        try SystemCall.write(brought.pointer(toPage: part.start), file, inFile(part))
        filled.insertRun(part)
    }

    /// Ends the memory: every access through a mapping, and through those to come, raises SIGBUS, and the bytes are gone.
    /// What was stored and not taken is lost. Mappings are unmapped as ever.
    public func destroy() throws(StoreError) {
        try locked { () throws(StoreError) in
            isDestroyed = true
            countGeneration()
            for placement in placements.values where placement.live.count > 0 {
                // Closed first: nothing is placed any more.
                placement.closeRegion()
                let length = placement.live.count << Page.shift
                try BeyondEnd.map(placement.address(of: placement.live.start), length)
                try SystemCall.advise(placement.address(of: placement.live.start), length, Int32(MADV_DONTFORK))
                placement.tracker = nil
                SystemCall.wake(placement.address(of: placement.live.start), length)
            }
            try SystemCall.punch(file, inFile(live))
        }
    }

    /// Whether an access to the page raises SIGBUS somewhere, since it could not be filled.
    public func isPoisoned(_ page: Int) -> Bool {
        (try? locked { () throws(StoreError) in regions.contains { $0.state.withLock { $0.poisoned.contains(page) } } }) == true
    }
}
