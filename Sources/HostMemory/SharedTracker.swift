internal import VMTypes

/// Finds the pages stored to through one shared mapping. Callers hold the memory's lock; page numbers are the object's.
protocol SharedTracker: AnyObject {
    /// Appends the pages stored to, and re-arms them.
    func take(into runs: inout [PageRange]) throws(StoreError)
    /// Appends the pages stored to.
    func peek(into runs: inout [PageRange]) throws(StoreError)
    /// Makes pages clean.
    func rearm(_ pages: PageRange) throws(StoreError)
    /// Sets the protection that the owner asks for.
    func protect(_ pages: PageRange, _ bits: Int32) throws(StoreError)
    /// Lets no more stores into `part`, then appends its pages stored to. It is unmapped next.
    func leave(_ part: PageRange, into runs: inout [PageRange]) throws(StoreError)
    /// The tracker of a part that remains, with all that was found out so far.
    func remaining(_ part: PageRange, _ region: DemandRegion?) -> any SharedTracker
}

/// Tracking by signal of a part of what one `SignalTracker` covers.
///
/// The parts that remain of a mapping keep its tracker: a handler that waits for its lock marks what is looked at later.
final class SharedSignalTracker: SharedTracker {
    private let whole: SignalTracker
    private let pages: PageRange

    init(_ whole: SignalTracker, pages: PageRange) {
        self.whole = whole
        self.pages = pages
    }

    func take(into runs: inout [PageRange]) throws(StoreError) { try whole.take(pages, into: &runs) }
    func peek(into runs: inout [PageRange]) throws(StoreError) { try whole.peek(pages, into: &runs) }
    func rearm(_ pages: PageRange) throws(StoreError) { try whole.rearm(pages) }
    func protect(_ pages: PageRange, _ bits: Int32) throws(StoreError) { try whole.protect(pages, bits) }

    func leave(_ part: PageRange, into runs: inout [PageRange]) throws(StoreError) {
        try whole.leave(part, into: &runs)
    }

    func remaining(_ part: PageRange, _ region: DemandRegion?) -> any SharedTracker {
        SharedSignalTracker(whole, pages: part)
    }
}
