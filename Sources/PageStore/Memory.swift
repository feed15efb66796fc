internal import Glibc
internal import VMTypes

func memset0(_ p: UnsafeMutableRawPointer, _ count: Int) { memset(p, 0, count) }

/// True where the page at `p` holds zeros only.
func isZeroPage(_ p: UnsafeRawPointer) -> Bool {
    p.loadUnaligned(as: UInt64.self) == 0 && memcmp(p, p + 8, Page.size - 8) == 0
}

/// Page-aligned memory that grows and is kept: what records are built in and what O_DIRECT reads into.
///
/// Invariant: `base` is a live allocation of `capacity` bytes, used by one thread at a time.
final class AlignedBuffer: @unchecked Sendable {
    private(set) var base: UnsafeMutableRawPointer
    private(set) var capacity: Int

    init(capacity: Int) {
        self.capacity = Page.count(forBytes: max(capacity, Page.size)) * Page.size
        base = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: Page.size)
    }

    deinit { base.deallocate() }

    /// Makes room for `count` bytes; the contents are lost where it had to grow.
    func reserve(_ count: Int) {
        guard count > capacity else { return }
        base.deallocate()
        capacity = max(Page.count(forBytes: count) * Page.size, capacity * 2)
        base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: Page.size)
    }

    subscript(range: Range<Int>) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base + range.lowerBound, count: range.count)
    }
}
