public import VMTypes

/// Where the committed bytes of a run of pages are.
public enum RunKind: Sendable, Equatable {
    /// Never written: reads as zeros.
    case zero
    /// Whole pages, contiguous and page-aligned in the provider's file from this byte offset, and immutable
    /// while the mapping lives.
    case file(offset: Int)
    /// The bytes are given by `PageProvider.fill`.
    case fill
    /// Past the object's end: an access raises SIGBUS.
    case beyondEnd
}

/// Where a mapping's committed bytes come from.
///
/// Thread-safe. It is called from any thread that works on the mapping and from the thread that serves faults;
/// it must not touch memory of a mapping that it provides for, other than through the pointer given, nor wait
/// for a thread that does.
public protocol PageProvider: AnyObject, Sendable {
    /// The file that `.file` runs refer to.
    var fileDescriptor: Int32 { get }

    /// What the pages are, in runs that cover the range exactly, in order.
    func runs(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)]

    /// Writes the committed bytes of whole pages to `destination`; called for `.file` and `.fill` runs, also
    /// for ranges of several runs.
    func fill(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError)

    /// Which bytes of the file `fill` would read for pages of a range, in order, as contiguous runs; nothing for pages whose
    /// bytes are elsewhere. Asked for what a fill would wait for, not for what to map.
    func places(in range: PageRange) -> [(pages: PageRange, offset: Int)]
}

extension PageProvider {
    public func places(in range: PageRange) -> [(pages: PageRange, offset: Int)] { [] }

    /// The runs of a range, after checking that they cover it exactly.
    func checkedRuns(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)] {
        let found = try runs(in: range)
        var next = range.start
        for run in found {
            guard run.pages.start == next, run.pages.count > 0 else { break }
            next = run.pages.end
        }
        guard next == range.end else {
            throw StoreError(.invalid, "The runs of \(range) end or break at page \(next)")
        }
        return found
    }
}
