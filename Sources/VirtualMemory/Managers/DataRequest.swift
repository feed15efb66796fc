internal import Glibc
internal import HostMemory
public import VMTypes

/// Pages that a manager is asked for.
///
/// The first answer counts, and wakes everybody who waits for one of the pages; later ones are refused. Pages that came into
/// memory meanwhile stay as they are. Thread-safe.
public final class DataRequest: Sendable {
    /// The object whose pages they are.
    public var object: ObjectID { pager.id }
    /// Bytes into the object; a multiple of the page size.
    public let offset: UInt64
    /// Bytes: whole pages. The last page of an object may reach beyond its end.
    public let length: Int

    private let pending: PendingRequest
    private let pager: ManagedPager

    init(_ pending: PendingRequest, _ pager: ManagedPager) {
        self.pending = pending
        self.pager = pager
        offset = UInt64(pending.pages.start) << UInt64(Page.shift)
        length = pending.pages.count << Page.shift
    }

    /// Whether an answer still counts: none was given, and nobody gave the request up.
    public var isOpen: Bool { pager.state.withLock { _ in pending.answer == nil } }

    deinit { pager.finish(pending, .failed("its manager let go of the request without an answer")) }

    /// Gives the bytes: `length` of them, or as many as there are up to the object's end; what lies beyond reads as zeros.
    ///
    /// - Throws: INVALID_ARGUMENT for another number of bytes, which fails the request too; OPERATION_TIMED_OUT where the
    ///   request was answered already or given up.
    public func supply(_ bytes: UnsafeRawBufferPointer) throws(VMError) {
        let rest = pager.size - min(offset, pager.size)
        guard bytes.count == length || UInt64(bytes.count) == min(rest, UInt64(length)) else {
            let reason = "its manager answered \(bytes.count) bytes where \(length) were asked for"
            try answer(.failed(reason))
            throw VMError(.invalidArgument, "object \(object), offset \(offset): \(reason)")
        }
        let used = Int(min(rest, UInt64(bytes.count)))
        let supplied = PageBytes(pending.pages) { (memory) throws(Never) in
            if let source = bytes.baseAddress { memcpy(memory, source, used) }
            memset(memory + used, 0, length - used)
        }
        try answer(.supplied(supplied))
    }

    /// Gives the bytes, as `supply` of a buffer does.
    public func supply(_ bytes: [UInt8]) throws(VMError) {
        let failure: VMError? = bytes.withUnsafeBytes { bytes in
            do throws(VMError) {
                try supply(bytes)
                return nil
            } catch { return error }
        }
        if let failure { throw failure }
    }

    /// Answers that there is nothing: the pages are zeros. OPERATION_TIMED_OUT as for `supply`.
    public func unavailable() throws(VMError) {
        let zeros = PageBytes(pending.pages) { _ = memset($0, 0, length) }
        try answer(.supplied(zeros))
    }

    /// Answers that the pages can't be had now, and why. OPERATION_TIMED_OUT as for `supply`.
    public func fail(_ reason: String) throws(VMError) { try answer(.failed(reason)) }

    private func answer(_ answer: PendingRequest.Answer) throws(VMError) {
        guard pager.finish(pending, answer) else {
            throw VMError(
                .operationTimedOut, "the request for \(length) bytes at offset \(offset) of object \(object) has ended before")
        }
    }
}

/// A request that somebody waits for. What changes is guarded by its pager's lock.
final class PendingRequest: @unchecked Sendable {
    enum Answer {
        case supplied(PageBytes)
        case failed(String)
        /// Nobody waits any longer.
        case timedOut
    }

    let pages: PageRange
    /// As `seconds()` counts.
    let deadline: Double
    var answer: Answer?
    /// It answers nobody who comes later.
    var isForgotten = false

    init(pages: PageRange, deadline: Double) {
        self.pages = pages
        self.deadline = deadline
    }
}
