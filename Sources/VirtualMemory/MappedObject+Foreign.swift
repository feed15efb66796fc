internal import Glibc
internal import HostMemory
internal import PageStore
internal import VMTypes

/// Stores of other processes into shared memory: no tracker of ours sees them, so that all that is present is compared.
extension MappedObject {
    /// Whether another process can store to the object's memory, or could since it was last compared.
    var hasForeignWriters: Bool { isGivenOut || !children.isEmpty || isSharedForEver }

    /// Whether another process has the memory at this moment.
    var isLent: Bool {
        if isSharedForEver || children.contains(where: \.lasts) { return true }
        guard isGivenOut, case .shared(let shared) = home else { return false }
        return shared.isHeldForWriting
    }

    /// Makes the pages pending that another process has changed: exactly those that differ from the last commit.
    ///
    /// Reads and compares every page that is in memory. A page that is stored to meanwhile is found now or the next time.
    func gatherForeign() throws(StoreError) {
        guard hasForeignWriters, case .shared(let shared) = home else { return }
        // Asked first: whoever is gone by now has stored what it stored.
        let remain = isGivenOut && shared.isHeldForWriting
        let living = children.filter(\.lasts)
        let known = joined(pending)
        var found: [PageRange] = []
        for run in try shared.presentRuns(in: livePages) {
            var next = run.start
            for skipped in known where skipped.end > run.start && skipped.start < run.end {
                if skipped.start > next { try compare(PageRange(start: next, count: skipped.start - next), shared, &found) }
                next = max(next, skipped.end)
            }
            if next < run.end { try compare(PageRange(start: next, count: run.end - next), shared, &found) }
        }
        if !found.isEmpty { pending = joined(known + found) }
        isGivenOut = remain
        children = living
    }

    /// Appends what `gatherForeign` would make pending.
    func peekForeign(into runs: inout [PageRange]) throws(StoreError) {
        guard hasForeignWriters, case .shared(let shared) = home else { return }
        for run in try shared.presentRuns(in: livePages) { try compare(run, shared, &runs) }
    }

    /// Appends the pages of `range` whose bytes are not the committed ones.
    private func compare(_ range: PageRange, _ shared: SharedMemory, _ runs: inout [PageRange]) throws(StoreError) {
        // The pager does not know what the last commit holds: the commit itself compares.
        guard !needsView else { return append(range, to: &runs) }
        let batch = 64
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: batch * Page.size, alignment: Page.size)
        defer { buffer.deallocate() }
        var next = range.start
        while next < range.end {
            let part = PageRange(start: next, count: min(batch, range.end - next))
            next = part.end
            do throws(StoreError) { try pager.fill(part, into: buffer) } catch {
                // What is committed can't be read: memory has the only good bytes of it.
                append(part, to: &runs)
                continue
            }
            for index in 0..<part.count
            where memcmp(shared.pointer(toPage: part.start + index), buffer + index * Page.size, Page.size) != 0 {
                append(PageRange(start: part.start + index, count: 1), to: &runs)
            }
        }
    }

    private func append(_ range: PageRange, to runs: inout [PageRange]) {
        if let last = runs.last, last.end == range.start {
            runs[runs.count - 1].count += range.count
        } else {
            runs.append(range)
        }
    }
}
