internal import Glibc
internal import VMTypes

/// One open file, and the system calls on files and folders; every failure becomes a `StoreError` with errno and path.
///
/// Invariant: `descriptor` is open until `close()` or deinit, and nobody else closes it.
final class File: @unchecked Sendable {
    let path: String
    let descriptor: Int32
    private var isOpen = true

    /// Opens `path`; `O_CLOEXEC` is added to `flags`.
    init(_ path: String, _ flags: Int32, mode: mode_t = 0o600) throws(StoreError) {
        self.path = path
        if let injected = Failpoint.injectedError() { throw Self.error("open", path, injected) }
        descriptor = Glibc.open(path, flags | O_CLOEXEC, mode)
        if descriptor < 0 { throw Self.error("open", path, errno) }
    }

    deinit { close() }

    func close() {
        if isOpen { Glibc.close(descriptor) }
        isOpen = false
    }

    /// Writes all of `bytes` at `offset`.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StoreError) {
        var done = 0
        while done < bytes.count {
            if let injected = Failpoint.injectedError() { throw Self.error("write", path, injected) }
            let n = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
            if n < 0 {
                if errno == EINTR { continue }
                throw Self.error("write", path, errno)
            }
            done += n
        }
    }

    /// Fills all of `bytes` from `offset`; a file that ends before is damaged.
    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(StoreError) {
        let n = try readUpTo(bytes, at: offset)
        guard n == bytes.count else {
            throw StoreError(
                .damaged, "the file ends at byte \(offset + n), where \(bytes.count - n) more were expected",
                advice: "Restore it from a backup, or run `varve repair`", path: path)
        }
    }

    /// Reads what there is from `offset`, at most `bytes.count` bytes.
    func readUpTo(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(StoreError) -> Int {
        var done = 0
        while done < bytes.count {
            if let injected = Failpoint.injectedError() { throw Self.error("read", path, injected) }
            let n = pread(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
            if n < 0 {
                if errno == EINTR { continue }
                throw Self.error("read", path, errno)
            }
            if n == 0 { break }
            done += n
        }
        return done
    }

    /// Makes the file's bytes durable. A failure means *unknown*: the kernel may have forgotten what it could not write.
    func dataSync() throws(StoreError) {
        if let injected = Failpoint.injectedError() { throw syncError(injected) }
        if fdatasync(descriptor) != 0 { throw syncError(errno) }
    }

    func sync() throws(StoreError) {
        if let injected = Failpoint.injectedError() { throw syncError(injected) }
        if fsync(descriptor) != 0 { throw syncError(errno) }
    }

    private func syncError(_ code: Int32) -> StoreError {
        StoreError(
            .unknownOutcome, "a flush failed: what was written since the last one may or may not be on the disk",
            advice: "Reopen the store: that settles it to one answer", path: path, errno: code)
    }

    func size() throws(StoreError) -> Int {
        var status = stat()
        if fstat(descriptor, &status) != 0 { throw Self.error("fstat", path, errno) }
        return Int(status.st_size)
    }

    /// Reserves disk space for the range, so that writing it later cannot meet a full disk.
    func allocate(offset: Int, count: Int) throws(StoreError) {
        if let injected = Failpoint.injectedError() { throw Self.error("allocate", path, injected) }
        let code = posix_fallocate(descriptor, off_t(offset), off_t(count))
        if code != 0 { throw Self.error("allocate \(count) bytes of", path, code) }
    }

    func truncate(to size: Int) throws(StoreError) {
        if let injected = Failpoint.injectedError() { throw Self.error("truncate", path, injected) }
        if ftruncate(descriptor, off_t(size)) != 0 { throw Self.error("truncate", path, errno) }
    }

    /// Tells the kernel not to read ahead.
    func adviseRandomAccess() { _ = posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_RANDOM)) }

    /// From now on reads and writes go past the page cache, where the file system allows that.
    func bypassCacheIfPossible() throws(StoreError) {
        if let injected = Failpoint.injectedError() { throw Self.error("set the flags of", path, injected) }
        let flags = fcntl(descriptor, F_GETFL)
        if flags < 0 || (fcntl(descriptor, F_SETFL, flags | Self.direct) < 0 && errno != EINVAL) {
            throw Self.error("set the flags of", path, errno)
        }
    }

    #if arch(x86_64) || arch(i386)
        private static let direct: Int32 = 0o40000  // O_DIRECT
    #else
        private static let direct: Int32 = 0o200000
    #endif

    /// Takes (`F_WRLCK`) or drops (`F_UNLCK`) an open-file-description lock on one byte; false where another process has it.
    func lock(byte: Int, _ type: Int32) throws(StoreError) -> Bool {
        var request = flock()
        request.l_type = Int16(type)
        request.l_whence = Int16(SEEK_SET)
        request.l_start = off_t(byte)
        request.l_len = 1
        if fcntl(descriptor, 37 /* F_OFD_SETLK */, &request) == 0 { return true }
        if errno == EAGAIN || errno == EACCES { return false }
        throw Self.error("lock", path, errno)
    }

    /// True where another open file description holds a lock on the byte.
    func isLockedElsewhere(byte: Int) throws(StoreError) -> Bool {
        var request = flock()
        request.l_type = Int16(F_WRLCK)
        request.l_whence = Int16(SEEK_SET)
        request.l_start = off_t(byte)
        request.l_len = 1
        if fcntl(descriptor, 36 /* F_OFD_GETLK */, &request) != 0 { throw Self.error("query the lock of", path, errno) }
        return request.l_type != Int16(F_UNLCK)
    }

    /// `ENOSPC`, quotas and an `EIO` that ext4 answers for a full disk are `.full`; the rest is `.io`.
    static func error(_ call: String, _ path: String, _ code: Int32) -> StoreError {
        if code == ENOSPC || code == EDQUOT || (code == EIO && freeBytes(near: path) == 0) {
            return StoreError(
                .full, "could not \(call) the file: no space is left on its file system",
                advice: "Free some space and try again; nothing was lost", path: path, errno: code)
        }
        return StoreError(
            .io, "could not \(call) the file: \(String(cString: strerror(code)))",
            advice: code == EACCES || code == EPERM ? "Check the permissions" : "Check the file system and the path",
            path: path, errno: code)
    }
}

/// Folders and paths.
enum Folder {
    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func create(_ path: String) throws(StoreError) {
        if let injected = Failpoint.injectedError() { throw File.error("create", path, injected) }
        if mkdir(path, 0o700) != 0 { throw File.error("create", path, errno) }
    }

    /// Makes the names in a folder durable.
    static func sync(_ path: String) throws(StoreError) { try File(path, O_RDONLY | O_DIRECTORY).sync() }

    static func rename(_ from: String, to: String) throws(StoreError) {
        if let injected = Failpoint.injectedError() { throw File.error("rename", from, injected) }
        // A folder is renamed onto nothing or onto an empty folder only: two creators cannot overwrite each other.
        if Glibc.rename(from, to) != 0 {
            if errno == EEXIST || errno == ENOTEMPTY {
                throw StoreError(.storeExists, "something stands at this path", advice: "Choose another path", path: to)
            }
            throw File.error("rename", from, errno)
        }
    }

    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// The names in a folder, without `.` and `..`; empty where it cannot be read.
    static func names(in path: String) -> [String] {
        guard let handle = opendir(path) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    /// Removes a folder of plain files.
    static func remove(_ path: String) {
        for name in names(in: path) { unlink(path + "/" + name) }
        rmdir(path)
    }
}

/// Bytes that an unprivileged process may still write near `path`; 0 where that cannot be learned.
func freeBytes(near path: String) -> Int {
    var info = statvfs()
    var place = path
    while statvfs(place, &info) != 0 {
        if place == "/" || place == "." { return 0 }
        place = Folder.parent(of: place)
    }
    return Int(info.f_bavail) * Int(info.f_frsize)
}
