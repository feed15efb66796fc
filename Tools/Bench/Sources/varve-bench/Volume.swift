import Foundation

/// Where the engines' data is: its file system and the device below it.
struct Volume {
    let fileSystem: String
    let source: String
    let freeBytes: UInt64
    private let device: String

    /// The volume that holds `path`, by the longest mount point above it.
    init(of path: String) throws {
        guard let resolved = realpath(path, nil) else {
            throw BenchError("\(path): \(String(cString: strerror(errno)))")
        }
        defer { free(resolved) }
        let folder = String(cString: resolved)
        let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8).split(separator: "\n")
            .map { $0.split(separator: " ") }
            .filter { $0.count > 4 && Self.isFolder(folder, below: $0[4]) }
        guard let mount = mounts.max(by: { $0[4].count <= $1[4].count }),
            let separator = mount.firstIndex(of: "-"), separator + 2 < mount.count
        else { throw BenchError("\(path): no mounted file system is known") }
        device = String(mount[2])
        fileSystem = String(mount[separator + 1])
        source = String(mount[separator + 2])
        let attributes = try FileManager.default.attributesOfFileSystem(forPath: folder)
        freeBytes = (attributes[.systemFreeSize] as? NSNumber)?.uint64Value ?? 0
    }

    /// What the device has written since the machine started, whoever asked for it; nil where nobody counts.
    func deviceBytesWritten() -> UInt64? {
        let sectorBytes: UInt64 = 512
        guard let counters = try? String(contentsOfFile: "/sys/dev/block/\(device)/stat", encoding: .utf8) else {
            return nil
        }
        let fields = counters.split(whereSeparator: \.isWhitespace)
        return fields.count > 6 ? UInt64(fields[6]).map { $0 * sectorBytes } : nil
    }

    private static func isFolder(_ folder: String, below mountPoint: Substring) -> Bool {
        mountPoint == "/" || folder == mountPoint || folder.hasPrefix("\(mountPoint)/")
    }
}
