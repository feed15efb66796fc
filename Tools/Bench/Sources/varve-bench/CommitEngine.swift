/// An engine written in Swift; it runs in a child process of its own, as the C peers do.
///
/// The protocol, the clock and the contents of the pages are those of the C peers (`peer.h`).
protocol CommitEngine: AnyObject {
    /// Stores `pages.count` whole pages and returns when they are durable: the timed part.
    ///
    /// `pages` is in ascending order without repeats; `contents` holds 4,096 bytes for each, page-aligned.
    func commit(pages: UnsafeBufferPointer<UInt32>, contents: UnsafeRawBufferPointer) throws

    /// Releases what the engine holds.
    func finish() throws
}

/// Makes an object of `pageCount` pages in the folder `directory`, every page filled by `fill` (any whole number
/// of pages at a time), and leaves it durable, mapped and resident. A commit changes the first `bytes` bytes, a divisor of a
/// page's, from some place on in each of its pages.
typealias MakeCommitEngine =
    @Sendable (
        _ directory: String, _ pageCount: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void,
        _ bytes: Int
    ) throws -> any CommitEngine
