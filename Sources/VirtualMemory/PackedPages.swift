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
    private let mapping: UnsafeMutableRawBufferPointer

    /// More pages go to the copy's memory at once: they would take twice the memory until the next commit.
    static let most = 8192
    /// More runs do too: where the copy has no pages beside them, each is registered for demand faults by itself, as kernel
    /// mappings of its own.
    static let mostRuns = 1024
    /// The same where there is nothing but them.
    static let mostRunsAlone = 64

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
        mapping = try Self.map(count)
        base = mapping.count > count * Page.size ? mapping.baseAddress!.alignedUp(toMultipleOf: Self.hugePage) : mapping.baseAddress!
    }

    /// Where the memory of one that is no more is kept for the next; 0 where none is: memory that the process has costs a third of new memory.
    private static let spare = Atomic<UInt>(0)
    private static let spareBytes = 3 * hugePage

    /// The kernel's larger page on every host that there is a build for.
    private static let hugePage = 2 << 20

    /// Memory for so many pages. Of a quarter of a huge page and more, room for huge pages: one costs a third of the small ones
    /// in its place.
    private static func map(_ count: Int) throws(StoreError) -> UnsafeMutableRawBufferPointer {
        let needed = count * Page.size, isHuge = needed >= hugePage / 4
        if isHuge, needed <= spareBytes - hugePage,
            let known = UnsafeMutableRawPointer(bitPattern: spare.exchange(0, ordering: .acquiringAndReleasing))
        { return UnsafeMutableRawBufferPointer(start: known, count: spareBytes) }
        let byteCount = isHuge ? max((needed + hugePage - 1) / hugePage * hugePage + hugePage, spareBytes) : needed
        let p = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let p, p != MAP_FAILED else {
            throw StoreError(.full, "no memory for \(count) changed pages of a copy", errno: errno)
        }
        // Where the host has no huge pages the small ones do.
        if isHuge { _ = madvise(p, byteCount, MADV_HUGEPAGE) }
        return UnsafeMutableRawBufferPointer(start: p, count: byteCount)
    }

    deinit {
        let start = mapping.baseAddress!
        if mapping.count == Self.spareBytes,
            Self.spare.compareExchange(expected: 0, desired: UInt(bitPattern: start), ordering: .acquiringAndReleasing).exchanged
        { return }
        munmap(start, mapping.count)
    }

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
