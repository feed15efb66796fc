internal import CHostMemory
internal import Synchronization

/// Whether the kernel may have taken pages of memory files out of page tables since this process began.
///
/// It does so when it moves them to swap space. A page table that is not armed forgets a store with that.
enum SwapActivity {
    /// Never unset. For tests, too.
    static let isSuspected = Atomic<Bool>(false)
    private static let countAtFirst = Atomic<Int>(-1)

    /// Counts from now on; called before memory that is tracked can be stored to.
    static func begin() {
        guard countAtFirst.load(ordering: .relaxed) < 0 else { return }
        _ = countAtFirst.compareExchange(expected: -1, desired: pagesMovedOut(), ordering: .relaxed)
    }

    static var mayHaveTakenPages: Bool {
        if isSuspected.load(ordering: .relaxed) { return true }
        var total: UInt64 = 0, unused: UInt64 = 0
        guard hm_swap_space(&total, &unused) == 0, total > 0 else { return false }
        let first = countAtFirst.load(ordering: .relaxed)
        // Where swap space is full, pages leave the tables and then find no room.
        let isFull = unused < total / 16
        guard isFull || first != pagesMovedOut() else { return false }
        isSuspected.store(true, ordering: .relaxed)
        return true
    }

    /// Since the host began.
    private static func pagesMovedOut() -> Int {
        var sum = 0
        for line in (ProcessMaps.text("/proc/vmstat") ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2, ["pswpout", "zswpout", "swpout_zero"].contains(words[0]) else { continue }
            sum += Int(words[1]) ?? 0
        }
        return sum
    }
}
