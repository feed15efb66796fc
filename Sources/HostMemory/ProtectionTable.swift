internal import CHostMemory
internal import Glibc
internal import VMTypes

/// The protection that a mapping's owner asked for, a byte a page.
///
/// Kept exclusive-ored with the default: the table is untouched zeros until somebody asks for another. The signal
/// handler reads it.
final class ProtectionTable {
    let bytes: UnsafeMutablePointer<UInt8>
    let pages: PageRange
    let standard: Int32
    private(set) var isUniform = true

    /// - Parameter standard: What pages have at first.
    init(pages: PageRange, standard: Int32) throws(StoreError) {
        guard let memory = calloc(max(1, pages.count), 1) else {
            throw SystemCall.error("calloc", errno: ENOMEM)
        }
        bytes = memory.bindMemory(to: UInt8.self, capacity: max(1, pages.count))
        self.pages = pages
        self.standard = standard
    }

    deinit { free(bytes) }

    func bits(_ page: Int) -> Int32 { Int32(bytes[page - pages.start]) ^ standard }

    func set(_ range: PageRange, _ bits: Int32) {
        if bits != standard { isUniform = false }
        for page in range.start..<range.end { bytes[page - pages.start] = UInt8(truncatingIfNeeded: bits ^ standard) }
    }

    /// Pages that have left the range.
    func forget(_ range: PageRange) {
        isUniform = false
        for page in range.start..<range.end { bytes[page - pages.start] = UInt8(HM_UNTRACKED) }
    }

    /// Splits a range where the protection changes.
    func forEachRun<Failure: Error>(
        in range: PageRange, _ body: (PageRange, Int32) throws(Failure) -> Void
    ) throws(Failure) {
        guard !isUniform else { return range.isEmpty ? () : try body(range, standard) }
        var start = range.start
        while start < range.end {
            let bits = self.bits(start)
            var end = start + 1
            while end < range.end && self.bits(end) == bits { end += 1 }
            try body(PageRange(start: start, count: end - start), bits)
            start = end
        }
    }
}
