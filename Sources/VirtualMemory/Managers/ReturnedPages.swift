internal import HostMemory
public import VMTypes

/// Pages that go back to their manager: copies, taken at one moment.
public struct ReturnedPages: Sendable {
    public let object: ObjectID
    /// The store's version at that moment. The same pages may come again with a later one.
    public let version: Version
    /// Bytes of the object: pages beyond its end are no part of it.
    public let size: UInt64
    let runs: [(pages: PageRange, bytes: PageBytes)]

    /// How many pages there are.
    public var pageCount: Int { runs.reduce(0) { $0 + $1.pages.count } }

    /// Calls `body` with each run of pages, in order: where it begins, in bytes into the object, and its bytes, which end
    /// where the object does and are valid as long as this value is there.
    public func forEachRun<Failure: Error>(
        _ body: (_ offset: UInt64, _ bytes: UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        for run in runs {
            let offset = UInt64(run.pages.start) << UInt64(Page.shift)
            let count = min(UInt64(run.pages.count << Page.shift), size - min(size, offset))
            guard count > 0 else { continue }
            try body(offset, UnsafeRawBufferPointer(start: run.bytes.pointer(toPage: run.pages.start), count: Int(count)))
        }
    }
}

/// A return that a commit waits for. Its pager's lock guards what varies.
final class PendingReturn: @unchecked Sendable {
    enum Outcome {
        case taken
        case refused(String)
    }

    let pages: ReturnedPages
    /// As `seconds()` counts.
    let deadline: Double
    /// Whoever began it does not wait for it.
    var isLeft = false
    var outcome: Outcome?

    init(pages: ReturnedPages, deadline: Double) {
        self.pages = pages
        self.deadline = deadline
    }
}
