internal import CHostMemory

/// Threads of ours that work in the background, and leave their processors while stores are looked for.
///
/// Arming a page table interrupts every processor that runs a thread of the process: with one that works beside it a scan that
/// finds 256 pages takes 4 ms instead of 1. A thread that has begun is sent a real-time signal that nobody else handles,
/// and sleeps in its handler until the scan is over. Where no signal is free, scans take longer.
public enum CompanionThread {
    /// The calling thread works in the background from now on; answers what `end` wants.
    public static let begin: @Sendable () -> Int = { Int(hm_companion_begin()) }
    /// The calling thread, which has begun, is done.
    public static let end: @Sendable (Int) -> Void = { hm_companion_end(Int32($0)) }

    /// Runs `body` once the companions were told to sleep; it may take no lock and no memory, which one of them may hold.
    static func whileAsleep(_ body: () -> Int) -> Int {
        let areTold = hm_companions_stop() != 0
        defer { if areTold { hm_companions_go() } }
        return body()
    }
}
