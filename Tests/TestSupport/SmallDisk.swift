import Foundation

/// A file system of a few MiB of its own, for tests that fill it; unmounted with its last reference.
///
/// Needs root, `mkfs.ext4` and a free loop device: `isPossible` says whether this host lets us. What a test process that
/// died left mounted is unmounted by the next one that asks.
public final class SmallDisk: Sendable {
    /// Where it is mounted.
    public let path: String
    private let folder: TemporaryFolder
    private static let prefix = "small-disk"

    /// Why there can be none here; nil where there can.
    public static let reasonAgainst: String? = {
        guard geteuid() == 0 else { return "only root may mount one" }
        removeLeftovers()
        do {
            _ = try SmallDisk(mebibytes: 16)
            return nil
        } catch { return "\(error)" }
    }()

    public static var isPossible: Bool { reasonAgainst == nil }

    struct Failure: Error, CustomStringConvertible { let description: String }

    public init(mebibytes: Int) throws {
        folder = TemporaryFolder(Self.prefix, inMemory: true)
        path = folder.path + "/mounted"
        let image = folder.path + "/image"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        _ = FileManager.default.createFile(atPath: image, contents: nil)
        guard truncate(image, off_t(mebibytes << 20)) == 0 else { throw Failure(description: "no image: errno \(errno)") }
        try Self.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-J", "size=4", "-E", "lazy_itable_init=0", image])
        try Self.run(["mount", "-o", "loop", image, path])
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    private static func run(_ command: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] + command
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(description: "\(command[0]) ended with \(process.terminationStatus)")
        }
    }

    private static func removeLeftovers() {
        let mounts = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 1, let name = fields[1].split(separator: "/").dropLast().last, name.contains(prefix + "-"),
                let process = name.split(separator: "-").dropLast().last.flatMap({ pid_t($0) }), kill(process, 0) != 0, errno == ESRCH
            else { continue }
            umount2(String(fields[1]), Int32(MNT_DETACH))
            try? FileManager.default.removeItem(atPath: (fields[1] as NSString).deletingLastPathComponent)
        }
    }

    /// Bytes that may still be written.
    public var free: Int {
        var info = statvfs()
        guard statvfs(path, &info) == 0 else { return 0 }
        return Int(info.f_bavail) * Int(info.f_frsize)
    }

    private var ballast: String { path + "/ballast" }

    /// Takes or gives back space until `bytes` are free, to a page or two.
    public func leave(_ bytes: Int) {
        let file = open(ballast, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { return }
        defer { close(file) }
        for _ in 0..<4 {
            var status = stat()
            fstat(file, &status)
            let size = Int(status.st_size)
            let excess = free - bytes
            if excess >= 4096 {
                // As much of it as the file's own extents leave room for.
                if posix_fallocate(file, off_t(size), off_t(excess)) == 0 { continue }
                for page in 0..<excess / 4096 where posix_fallocate(file, off_t(size + page * 4096), 4096) != 0 { break }
            } else if excess <= -4096, size > 0 {
                ftruncate(file, off_t(max(size + excess, 0)))
            } else {
                break
            }
        }
    }

    /// Gives all of the ballast back.
    public func makeRoom() { unlink(ballast) }
}
