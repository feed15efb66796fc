internal import Glibc
internal import HostMemory
internal import Synchronization
public import VMTypes

/// A memory manager whose pages are a host file's: asked for with `pread`, returned with `pwrite` and `fdatasync`.
///
/// What a commit returns is on the disk when the commit returns, but not atomically with the store's version, nor as a
/// whole: an interrupted return leaves some pages old and some new. Who needs more maps an ingested file
/// (`Store.fileObject`).
///
/// The file must not change beside it: each request compares the file's identity, size and times before and after reading.
/// As long as no page was given, a file that has changed, and is as long as it was, is looked at and read again, three times at
/// most. After that, pages of before and after would meet: what changed fails with MEMORY_ERROR and that reason, for good;
/// pages in memory stay as they are. A change that others make while pages are being returned can't be told from the manager's
/// own.
public final class HostFileManager: MemoryManager {
    public let path: String
    /// Bytes of the file, which never change.
    public let size: UInt64
    private let file: HostFile
    private let isWritable: Bool
    private let known: Mutex<Known>

    private struct Known {
        /// What the file looked like last.
        var identity: HostFile.Identity
        /// A page of it was given.
        var isGiven = false
    }

    /// Opens a file.
    ///
    /// - Parameter writable: Whether returned pages are written to the file; if not, a commit that has some says that they were
    ///   not taken.
    /// - Throws: `.notFound`, `.io`; `.invalid` for what is not a regular file, or is empty.
    public init(path: String, writable: Bool = true) throws(StoreError) {
        let file = try HostFile(path, (writable ? O_RDWR : O_RDONLY) | O_NONBLOCK)
        try file.settleTimes()
        let identity = try file.identity()
        guard identity.isRegular, identity.size > 0 else {
            throw StoreError(.invalid, "only a regular file with bytes can be mapped", advice: "Check the path", path: path)
        }
        self.path = path
        self.file = file
        isWritable = writable
        size = UInt64(identity.size)
        known = Mutex(Known(identity: identity))
    }

    public func initialize(_ object: MemoryObjectControl) throws {
        guard object.size <= size else {
            throw StoreError(.invalid, "an object of \(object.size) bytes is larger than the file's \(size)", path: path)
        }
    }

    public func dataRequest(_ request: DataRequest) throws {
        let count = min(request.length, Int(size - min(request.offset, size)))
        let pages = PageRange(start: Int(request.offset) >> Page.shift, count: request.length >> Page.shift)
        let bytes = try known.withLock { known throws(StoreError) in
            for _ in 0..<(known.isGiven ? 0 : 2) {
                do throws(StoreError) { return try read(pages, count: count, &known) } catch {
                    guard error.code == .changedWhileRead else { throw error }
                }
                try file.settleTimes()
                let identity = try file.identity()
                guard identity.size == known.identity.size else { throw changed }
                known.identity = identity
            }
            return try read(pages, count: count, &known)
        }
        try request.supply(UnsafeRawBufferPointer(start: bytes.bytes, count: request.length))
    }

    /// Reads pages from a file that is what it was, before and after.
    private func read(_ pages: PageRange, count: Int, _ known: inout Known) throws(StoreError) -> PageBytes {
        try check(known)
        let bytes = try PageBytes(pages) { (memory) throws(StoreError) in
            memset(memory, 0, pages.count << Page.shift)
            guard try file.read(into: memory, count: count, at: pages.start << Page.shift) == count else { throw changed }
        }
        try check(known)
        known.isGiven = true
        return bytes
    }

    public func dataReturn(_ pages: ReturnedPages) throws {
        guard isWritable else {
            throw StoreError(.readOnly, "the file was opened for reading", advice: "Open it for writing", path: path)
        }
        try known.withLock { known throws(StoreError) in
            try check(known)
            // Whatever is written from here on changes the times, also where it fails.
            defer { known.identity = (try? file.identity()) ?? known.identity }
            try pages.forEachRun { (offset, bytes) throws(StoreError) in
                if let start = bytes.baseAddress { try file.write(start, count: bytes.count, at: Int(offset)) }
            }
            if fdatasync(file.descriptor) != 0 { throw HostFiles.error("sync the file", path, errno) }
            try file.settleTimes()
        }
    }

    private func check(_ known: Known) throws(StoreError) {
        guard try file.identity() == known.identity else { throw changed }
    }

    private var changed: StoreError {
        StoreError(
            .changedWhileRead, "the file was changed by somebody else", advice: "Make a new object of it", path: path)
    }
}

extension Store {
    /// An object whose pages are a host file's, served by a `HostFileManager`: changes are written back with each commit.
    ///
    /// Throws what `HostFileManager` does, and as `makeObject(size:manager:)`.
    public func makeObject(
        ofFile path: String, writable: Bool = true, attributes: ManagerAttributes = .init()
    ) throws(VMError) -> ManagedObject {
        let manager = try VMError.translating { () throws(StoreError) in try HostFileManager(path: path, writable: writable) }
        return try makeObject(
            size: manager.size, manager: manager, rights: writable ? .all : [.read, .execute], attributes: attributes)
    }
}
