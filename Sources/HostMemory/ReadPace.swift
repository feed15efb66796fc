internal import Glibc

/// What the fault service has seen of where bytes come from, and in which order pages are touched: whether the pages beside an
/// awaited one come with it.
///
/// From memory they cost little, and spare faults. From a disk each may cost what the awaited one does: they are worth waiting for
/// where pages are touched in order. Used by one thread.
final class ReadPace {
    /// Nanoseconds within which no disk answers: a fill that took longer waited for one.
    private static let quick = 500_000
    /// Fills without a page on the disk, after which nobody looks for such any more, until one takes long.
    private static let patience = 16
    /// Bytes between the end of a fill and the next touch that goes on with it.
    private static let stride: UInt64 = 1 << 18

    private var remaining = patience
    /// The addresses at which the last fills ended, each of another run of touches in order.
    private var ends: [UInt64] = Array(repeating: 0, count: 8)
    private var oldest = 0

    /// Whether pages may have to be read from a disk, so that looking pays.
    var isLooking: Bool { remaining > 0 }

    func sawAll() { remaining -= 1 }
    func sawMissing() { remaining = Self.patience }

    /// Whether the page at `address` is touched in order.
    func isInOrder(_ address: UInt64) -> Bool { ends.contains { address &- $0 < Self.stride } }

    /// Notes that a fill brought the pages up to `end`, beginning at or before the page at `address`.
    func filled(_ address: UInt64, upTo end: UInt64) {
        if let index = ends.firstIndex(where: { address &- $0 < Self.stride }) {
            ends[index] = end
        } else {
            ends[oldest] = end
            oldest = (oldest + 1) % ends.count
        }
    }

    /// Runs `body`, and notes whether it waited for a disk.
    func watching<E: Error>(_ body: () throws(E) -> Void) throws(E) {
        guard !isLooking else { return try body() }
        let start = Self.now()
        defer { if Self.now() - start > Self.quick { sawMissing() } }
        try body()
    }

    private static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
