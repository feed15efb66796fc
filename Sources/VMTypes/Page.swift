/// The page: the unit of mapping, of dirty tracking and of storage.
///
/// A store records its page size; hosts with another one are refused by name.
public enum Page {
    /// Bytes in a page.
    public static let size = 4096
    /// log2(`size`).
    public static let shift = 12

    /// The number of pages that hold `bytes` bytes, the last one possibly in part.
    ///
    /// `bytes` must not be negative; the result never overflows.
    @inlinable public static func count(forBytes bytes: Int) -> Int {
        (bytes >> shift) + (bytes & (size - 1) == 0 ? 0 : 1)
    }

    /// `value` rounded down to a page boundary.
    @inlinable public static func trunc(_ value: UInt64) -> UInt64 { value & ~UInt64(size - 1) }

    /// `value` rounded up to a page boundary, or nil where that exceeds 64 bits.
    @inlinable public static func round(_ value: UInt64) -> UInt64? {
        let (sum, overflow) = value.addingReportingOverflow(UInt64(size - 1))
        return overflow ? nil : trunc(sum)
    }
}

/// A run of pages: the first page's number and how many there are.
public struct PageRange: Hashable, Sendable, CustomStringConvertible {
    /// The first page's number.
    public var start: Int
    /// The number of pages; never negative.
    public var count: Int

    @inlinable public init(start: Int, count: Int) {
        self.start = start
        self.count = count
    }

    /// One past the last page.
    @inlinable public var end: Int { start + count }
    @inlinable public var isEmpty: Bool { count == 0 }
    @inlinable public func contains(_ page: Int) -> Bool { page >= start && page < end }
    /// The part within `other`; nil where they don't overlap.
    @inlinable public func clipped(to other: PageRange) -> PageRange? {
        let first = max(start, other.start)
        let last = min(end, other.end)
        return first < last ? PageRange(start: first, count: last - first) : nil
    }

    public var description: String { "pages \(start)..<\(end)" }
}
