public import VMTypes

/// A provider whose bytes may be long in coming: its faults are served on threads of its own, so that the fault service
/// goes on, and no lock is held while it is waited for.
///
/// `fill` is then never called for absent pages; whoever needs them under a lock calls `SharedMemory.bring` before.
public protocol WaitingPageProvider: PageProvider {
    /// How many pages around a fault are asked for at most; a power of two.
    var clusterPages: Int { get }

    /// Runs `work`, which may wait, on another thread. Throws where no thread can be had; `work` is then not run.
    func runApart(_ work: @escaping @Sendable () -> Void) throws(StoreError)

    /// The bytes of pages that include `page`, within `window` or around it; waits for them, for a bounded time.
    func bring(_ window: PageRange, for page: Int) throws(StoreError) -> PageBytes
}

/// The bytes of some pages, which nothing changes once they are filled; freed with the last reference.
public final class PageBytes: @unchecked Sendable {
    public let pages: PageRange
    /// `pages.count` whole pages.
    public let bytes: UnsafeRawPointer

    /// Runs `fill` with memory for the pages that holds anything.
    public init<Failure: Error>(
        _ pages: PageRange, _ fill: (UnsafeMutableRawPointer) throws(Failure) -> Void
    ) throws(Failure) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, pages.count) << Page.shift, alignment: Page.size)
        self.pages = pages
        bytes = UnsafeRawPointer(memory)
        try fill(memory)
    }

    deinit { bytes.deallocate() }

    /// Where a page of `pages` is.
    public func pointer(toPage page: Int) -> UnsafeRawPointer { bytes + (page - pages.start) << Page.shift }
}
