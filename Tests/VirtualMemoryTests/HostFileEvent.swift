import Foundation
import Testing

/// What others do to a host file.
enum HostFileEvent: String, CaseIterable, Sendable {
    case write, truncate, punch, rename, direct, mapping

    private struct Failed: Error, CustomStringConvertible { let description: String }

    private func check(_ isDone: Bool, _ what: String) throws {
        if !isDone { throw Failed(description: "\(self): \(what): \(String(cString: strerror(errno)))") }
    }

    /// Does it to a file of whole pages, none of which is of bytes 255 or 0 alone; throws unless the file shows it.
    func happen(to file: String) throws {
        let before = try Data(contentsOf: URL(fileURLWithPath: file))
        let count = before.count
        #if arch(arm64)
            let directly: Int32 = 0o200000
        #else
            let directly: Int32 = 0o40000
        #endif
        let descriptor = open(file, O_RDWR | O_CLOEXEC | (self == .direct ? directly : 0))
        try check(descriptor >= 0, "open")
        defer { close(descriptor) }
        var wanted = Data(repeating: 255, count: count)
        switch self {
        case .write, .direct:
            let block = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
            defer { block.deallocate() }
            memset(block, 255, 4096)
            for start in stride(from: 0, to: count, by: 4096) {
                try check(pwrite(descriptor, block, 4096, off_t(start)) == 4096, "pwrite")
            }
        case .truncate:
            try check(ftruncate(descriptor, 5000) == 0, "ftruncate")
            wanted = before.prefix(5000)
        case .punch:
            let punch = try Process.run(
                URL(fileURLWithPath: "/usr/bin/fallocate"), arguments: ["-p", "-o", "4096", "-l", "\(count - 8192)", file])
            punch.waitUntilExit()
            try check(punch.terminationStatus == 0, "fallocate")
            wanted = before.prefix(4096) + Data(count: count - 8192) + before.suffix(4096)
        case .rename:
            wanted = Data(count: count)
            try wanted.write(to: URL(fileURLWithPath: file + ".new"))
            try check(Glibc.rename(file + ".new", file) == 0, "rename")
        case .mapping:
            let mapped = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
            try check(mapped != MAP_FAILED, "mmap")
            memset(mapped!, 255, count)
            try check(msync(mapped, count, MS_SYNC) == 0, "msync")
            munmap(mapped, count)
        }
        try #require(try Data(contentsOf: URL(fileURLWithPath: file)) == wanted && wanted != before)
    }
}
