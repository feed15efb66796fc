internal import Glibc
public import VMTypes

/// A memory file that another process made and gave us, a part of one, or one of our own that nothing backs.
///
/// Its length is sealed: an access to its pages never fails. Thread-safe. Ranges of addresses are the caller's, within a
/// reserved window. The descriptor is closed with the last reference to it or a part; mappings stay.
public final class ForeignMemory: Sendable {
    /// A descriptor that parts share.
    private final class Descriptor: Sendable {
        let number: Int32
        init(_ number: Int32) { self.number = number }
        deinit { close(number) }
    }

    /// Pages of the file, or of the part.
    public let pageCount: Int
    /// Whether it can be mapped for stores.
    public let isWritable: Bool
    private let file: Descriptor
    /// The page of the file that is our page 0.
    private let first: Int

    var descriptor: Int32 { file.number }

    /// Takes a descriptor, and closes it where this throws.
    ///
    /// - Throws: `.invalid` for what is no sealed memory file of at least `pageCount` pages.
    public init(taking descriptor: Int32, pageCount: Int, isWritable: Bool) throws(StoreError) {
        var status = stat()
        let seals = fcntl(descriptor, 1034 /* F_GET_SEALS */)
        guard pageCount > 0, pageCount < 1 << 34, seals >= 0, seals & 2 /* F_SEAL_SHRINK */ != 0, fstat(descriptor, &status) == 0,
            Int(status.st_size) >= pageCount << Page.shift
        else {
            close(descriptor)
            throw StoreError(.invalid, "What was received is no sealed memory file of \(pageCount) pages")
        }
        file = Descriptor(descriptor)
        first = 0
        self.pageCount = pageCount
        self.isWritable = isWritable
    }

    /// Memory of zeros.
    public init(pageCount: Int) throws(StoreError) {
        guard pageCount > 0, pageCount < 1 << 34 else { throw StoreError(.invalid, "\(pageCount) pages can't be held in memory") }
        file = Descriptor(try SystemCall.makeMemoryFile(pages: pageCount))
        first = 0
        self.pageCount = pageCount
        isWritable = true
    }

    /// A part of another's pages, which may have none.
    ///
    /// - Throws: `.invalid` for what are no pages of it.
    public init(_ pages: PageRange, of whole: ForeignMemory) throws(StoreError) {
        guard pages.start >= 0, pages.count >= 0, pages.start <= whole.pageCount, pages.count <= whole.pageCount - pages.start else {
            throw StoreError(.invalid, "\(pages.text) are no pages of a memory file of \(whole.pageCount)")
        }
        file = whole.file
        first = whole.first + pages.start
        pageCount = pages.count
        isWritable = whole.isWritable
    }

    /// A descriptor of the whole file, the caller's to close.
    public func makeDescriptor() throws(StoreError) -> Int32 { try SystemCall.openAnew(descriptor, readOnly: false) }

    /// The pages that there are.
    private var live: PageRange { PageRange(start: 0, count: pageCount) }

    func inFile(_ pages: PageRange) -> PageRange { PageRange(start: pages.start + first, count: pages.count) }

    /// Maps pages over what is at `address`; those beyond the end raise SIGBUS. A forked child doesn't get them.
    public func map(_ pages: PageRange, at address: UInt64, _ protection: Protection) throws(StoreError) {
        let shown = pages.intersection(live)
        if shown.count > 0 { try SystemCall.mapShared(address, descriptor, inFile(shown), protection: protection.bits) }
        guard shown.count < pages.count else { return }
        let start = address + UInt64(max(0, shown.count)) << UInt64(Page.shift), length = (pages.count - max(0, shown.count)) << Page.shift
        try BeyondEnd.map(start, length)
        try SystemCall.advise(start, length, Int32(MADV_DONTFORK))
        try SystemCall.protect(start, length, protection.bits)
    }

    /// Puts whole pages in place of what is there.
    public func store(_ range: PageRange, from source: UnsafeRawPointer) throws(StoreError) {
        try SystemCall.write(source, descriptor, inFile(range.intersection(live)))
    }

    /// Copies pages of `source` here that have bytes there; what is beyond either's end is left out.
    public func copy(_ pages: PageRange, from source: ForeignMemory) throws(StoreError) {
        let buffer = FillBuffer()
        let part = pages.intersection(live).intersection(source.live)
        try SystemCall.forEachPresentRun(source.descriptor, source.inFile(part)) { run throws(StoreError) in
            var next = run.start
            while next < run.end {
                let chunk = PageRange(start: next, count: min(FillBuffer.pages, run.end - next))
                try SystemCall.read(buffer.pointer, source.descriptor, chunk)
                try SystemCall.write(
                    buffer.pointer, self.descriptor, self.inFile(PageRange(start: chunk.start - source.first, count: chunk.count)))
                next = chunk.end
            }
        }
    }

    /// How many of these pages have memory or swap space.
    public func presentPageCount(in pages: PageRange) throws(StoreError) -> Int {
        var count = 0
        try SystemCall.forEachPresentRun(descriptor, inFile(pages.intersection(live))) { count += $0.count }
        return count
    }

    /// Sets what accesses to mapped pages are allowed.
    public static func protect(address: UInt64, byteCount: Int, _ protection: Protection) throws(StoreError) {
        try SystemCall.protect(address, byteCount, protection.bits)
    }
}

extension SystemCall {
    /// Reads whole pages of a memory file, without a page fault.
    static func read(_ destination: UnsafeMutableRawPointer, _ file: Int32, _ pages: PageRange) throws(StoreError) {
        let length = pages.count << Page.shift
        var done = 0
        while done < length {
            let count = try check("pread") {
                let count = pread(file, destination + done, length - done, off_t(pages.start << Page.shift + done))
                return count < 0 && errno != EINTR ? -Int(errno) : max(0, count)
            }
            if count == 0 { throw StoreError(.io, "A memory file ended before \(pages.text)") }
            done += count
        }
    }
}
