internal import Glibc
public import VMTypes

/// A memory file that another process made and gave us, or one of our own that nothing backs.
///
/// Its length is sealed: an access to its pages never fails. Thread-safe. Ranges of addresses are the caller's, within a
/// reserved window. The descriptor is closed with the last reference; mappings stay.
public final class ForeignMemory: Sendable {
    /// Pages of the file.
    public let pageCount: Int
    /// Whether it can be mapped for stores.
    public let isWritable: Bool
    let descriptor: Int32

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
        self.descriptor = descriptor
        self.pageCount = pageCount
        self.isWritable = isWritable
    }

    /// Memory of zeros.
    public init(pageCount: Int) throws(StoreError) {
        guard pageCount > 0, pageCount < 1 << 34 else { throw StoreError(.invalid, "\(pageCount) pages can't be held in memory") }
        descriptor = try SystemCall.makeMemoryFile(pages: pageCount)
        self.pageCount = pageCount
        isWritable = true
    }

    deinit { close(descriptor) }

    /// Maps pages over what is at `address`; those beyond the end raise SIGBUS. A forked child doesn't get them.
    public func map(_ pages: PageRange, at address: UInt64, _ protection: Protection) throws(StoreError) {
        try SystemCall.mapShared(address, descriptor, pages, protection: protection.bits)
    }

    /// Copies pages of `source` here that have bytes there; what is beyond either's end is left out.
    public func copy(_ pages: PageRange, from source: ForeignMemory) throws(StoreError) {
        let buffer = FillBuffer()
        let part = pages.intersection(PageRange(start: 0, count: min(pageCount, source.pageCount)))
        try SystemCall.forEachPresentRun(source.descriptor, part) { run throws(StoreError) in
            var next = run.start
            while next < run.end {
                let chunk = PageRange(start: next, count: min(FillBuffer.pages, run.end - next))
                try SystemCall.read(buffer.pointer, source.descriptor, chunk)
                try SystemCall.write(buffer.pointer, self.descriptor, chunk)
                next = chunk.end
            }
        }
    }

    /// How many of these pages have memory or swap space.
    public func presentPageCount(in pages: PageRange) throws(StoreError) -> Int {
        var count = 0
        try SystemCall.forEachPresentRun(descriptor, pages.intersection(PageRange(start: 0, count: pageCount))) { count += $0.count }
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
