internal import CHostMemory
internal import Synchronization
public import VMTypes

extension ExclusiveMapping {
    /// How many pages are in memory, and how many in swap space.
    ///
    /// The kernel shows an absent page that is write-protected, to find stores to it, as one that is swapped out and write-protected.
    /// Where this process has pages in swap space, such pages count as swapped out, up to as many as it has there: too many
    /// perhaps, never too few.
    ///
    /// - Parameter unclear: Whether those pages count. Without them, a page that counts is in swap space for sure.
    public func residency(in range: PageRange, unclear: Bool = true) throws(StoreError) -> (resident: Int, swapped: Int) {
        guard range.isWithin(pages) else {
            throw StoreError(.invalid, "\(range.text) are not within the mapped \(pages)")
        }
        func count(_ part: PageRange) -> Population.Count {
            Population.count(address: address(of: part.start), byteCount: part.count << Page.shift)
        }
        let found = count(range)
        var total: UInt64 = 0, unused: UInt64 = 0
        guard found.swapped + found.swappedOrAbsent > 0, hm_swap_space(&total, &unused) == 0, total > 0 else {
            return (found.resident, 0)
        }
        // Those that raise SIGBUS are shown as swapped out, too.
        let poisoned = region?.state.withLock { $0.poisoned.filter { $0 >= range.start && $0 < range.end } } ?? []
        let swapped = found.swapped - poisoned.reduce(0) { $0 + count(PageRange(start: $1, count: 1)).swapped }
        guard unclear, found.swappedOrAbsent > 0 else { return (found.resident, max(0, swapped)) }
        let most = max(0, Population.swappedPagesOfProcess - swapped)
        return (found.resident, max(0, swapped) + min(found.swappedOrAbsent, most))
    }
}
