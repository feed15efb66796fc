internal import Glibc
internal import PageStore
internal import Synchronization
internal import VMTypes

/// Pages of a copy that differ from what it was made of, one behind the other, until they are touched or a commit takes them.
///
/// Putting pages one by one into a memory file takes four times as long as putting them here: the file needs a page, and a
/// place in its index, for each.
///
/// Invariant: the pages of `runs`, in order, lie behind each other from `base` on, in a mapping of our own. They are written
/// before anyone but the maker has this object, and never after: so reading them needs no lock.
final class PackedPages: @unchecked Sendable {
    /// In order, apart from each other.
    let runs: [PageRange]
    /// For each run, how many pages lie before it.
    private let ranks: [Int]
    private let base: UnsafeMutableRawPointer
    private let byteCount: Int

    /// More pages go to the copy's memory at once: they would take twice the memory until the next commit.
    static let most = 8192

    /// - Parameter runs: In order, apart from each other; not none.
    init(_ runs: [PageRange]) throws(StoreError) {
        self.runs = runs
        var ranks: [Int] = []
        ranks.reserveCapacity(runs.count)
        var count = 0
        for run in runs {
            ranks.append(count)
            count += run.count
        }
        self.ranks = ranks
        byteCount = count * Page.size
        let p = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let p, p != MAP_FAILED else {
            throw StoreError(.full, "no memory for \(count) changed pages of a copy", errno: errno)
        }
        base = p
    }

    deinit { munmap(base, byteCount) }

    /// The runs' parts within `range`, and where each begins.
    func forEach<Failure>(
        in range: PageRange, _ body: (PageRange, UnsafeMutableRawPointer) throws(Failure) -> Void
    ) throws(Failure) {
        var low = 0, high = runs.count
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].end <= range.start { low = middle + 1 } else { high = middle }
        }
        while low < runs.count, runs[low].start < range.end {
            let part = runs[low].intersection(range)
            try body(part, base + (ranks[low] + part.start - runs[low].start) * Page.size)
            low += 1
        }
    }
}
