internal import Foundation
internal import Glibc
internal import VMTypes

/// System calls on host files, for creating stores, importing and exporting.
enum HostFiles {
    static func error(_ what: String, _ path: String, _ code: Int32) -> StoreError {
        let text = String(cString: strerror(code))
        switch code {
        case ENOENT, ENOTDIR: return StoreError(.notFound, "could not \(what): \(text)", advice: "Check the path", path: path, errno: code)
        case ENOSPC, EDQUOT: return StoreError(.full, "could not \(what): \(text)", advice: "Free some space", path: path, errno: code)
        case EEXIST, ENOTEMPTY:
            return StoreError(.storeExists, "something stands at this path", advice: "Choose another path", path: path, errno: code)
        default: return StoreError(.io, "could not \(what): \(text)", advice: "Check the path and its permissions", path: path, errno: code)
        }
    }

    static func makeFolder(_ path: String) throws(StoreError) {
        if mkdir(path, 0o700) != 0 { throw error("make the folder", path, errno) }
    }

    static func renameFolder(_ from: String, to: String) throws(StoreError) {
        if rename(from, to) != 0 { throw error("rename", to, errno) }
    }

    static func syncFolder(_ path: String) throws(StoreError) {
        let file = try HostFile(path, O_RDONLY | O_DIRECTORY)
        if fsync(file.descriptor) != 0 { throw error("sync the folder", path, errno) }
    }

    /// Removes what processes that no longer live left half-made under a temporary name, which ends with their number. Our
    /// own number is an earlier process's, or the caller's own leftover: it asks before it begins.
    static func removeLeftovers(_ prefix: String, in folder: String) {
        let folder = folder.isEmpty ? "." : folder
        for entry in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] where entry.hasPrefix(prefix) {
            guard let process = Int32(entry.dropFirst(prefix.count)), process > 0 else { continue }
            if process == getpid() || (kill(process, 0) != 0 && errno == ESRCH) {
                try? FileManager.default.removeItem(atPath: folder + "/" + entry)
            }
        }
    }

    /// The path from the root, for another process.
    static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let here = getcwd(nil, 0) else { return path }
        defer { free(here) }
        return String(cString: here) + "/" + path
    }

    static func sleep(milliseconds: Int) { usleep(UInt32(milliseconds * 1000)) }
}

/// An open host file; closed with its last reference.
final class HostFile: Sendable {
    let path: String
    let descriptor: Int32

    init(_ path: String, _ flags: Int32, mode: mode_t = 0o666) throws(StoreError) {
        self.path = path
        descriptor = open(path, flags | O_CLOEXEC, mode)
        if descriptor < 0 { throw HostFiles.error("open the file", path, errno) }
    }

    deinit { close(descriptor) }

    /// What tells whether a file was changed: identity, size, times.
    struct Identity: Equatable {
        var device: UInt64
        var inode: UInt64
        var size: Int
        var modified: [Int]
        var changed: [Int]
        var isRegular: Bool
    }

    /// Makes every later change of the file show in its times: pages that others have mapped are written back, so that the
    /// next store to them is noticed, and the present moment is no longer the one of its last change.
    func settleTimes() throws(StoreError) {
        _ = fdatasync(descriptor)
        let tick = 20_000_000
        for _ in 0..<50 {
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            let changed = try identity().changed
            let age = (now.tv_sec - changed[0]) * 1_000_000_000 + now.tv_nsec - changed[1]
            if age < 0 || age > tick { return }
            HostFiles.sleep(milliseconds: 20)
        }
    }

    func identity() throws(StoreError) -> Identity {
        var s = stat()
        if fstat(descriptor, &s) != 0 { throw HostFiles.error("examine the file", path, errno) }
        return Identity(
            device: UInt64(s.st_dev), inode: UInt64(s.st_ino), size: Int(s.st_size),
            modified: [s.st_mtim.tv_sec, s.st_mtim.tv_nsec], changed: [s.st_ctim.tv_sec, s.st_ctim.tv_nsec],
            isRegular: s.st_mode & S_IFMT == S_IFREG)
    }

    /// The next stretch of data at or after `offset`, or nil: the rest is a hole.
    func nextData(from offset: Int, size: Int) throws(StoreError) -> Range<Int>? {
        guard offset < size else { return nil }
        let start = lseek(descriptor, off_t(offset), 3 /* SEEK_DATA */)
        if start < 0 {
            if errno == ENXIO { return nil }
            if errno == EINVAL { return offset..<size }
            throw HostFiles.error("look for data in the file", path, errno)
        }
        // Somebody extends the file: what lies beyond is not part of what is read.
        guard Int(start) < size else { return nil }
        let end = lseek(descriptor, start, 4 /* SEEK_HOLE */)
        return Int(start)..<min(size, end < 0 ? size : Int(end))
    }

    /// Reads at most `count` bytes; fewer at the end.
    func read(into p: UnsafeMutableRawPointer, count: Int, at offset: Int) throws(StoreError) -> Int {
        var done = 0
        while done < count {
            let n = pread(descriptor, p + done, count - done, off_t(offset + done))
            if n < 0 {
                if errno == EINTR { continue }
                throw HostFiles.error("read the file", path, errno)
            }
            if n == 0 { break }
            done += n
        }
        return done
    }

    func write(_ p: UnsafeRawPointer, count: Int, at offset: Int) throws(StoreError) {
        var done = 0
        while done < count {
            let n = pwrite(descriptor, p + done, count - done, off_t(offset + done))
            if n < 0 {
                if errno == EINTR { continue }
                throw HostFiles.error("write the file", path, errno)
            }
            done += n
        }
    }
}
