import Foundation

/// A folder that is removed with its last reference.
public final class TemporaryFolder: Sendable {
    public let path: String

    /// With `inMemory`, the folder is on a file system in memory where the host has room on one: for tests that ask no
    /// disk to keep anything, and that a disk's flushes would slow down.
    public init(_ prefix: String = "varve-test", inMemory: Bool = false) {
        let place = inMemory ? Self.memory ?? NSTemporaryDirectory() : NSTemporaryDirectory()
        let name = "\(prefix)-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        path = place == Self.memory ? "\(place)/\(Self.memoryPrefix)\(name)" : place + name
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private static let memoryPrefix = "varve-tests."

    /// A file system in memory with room for many small stores; nil where there is none.
    private static let memory: String? = {
        let place = "/dev/shm"
        var info = statvfs()
        guard statvfs(place, &info) == 0, Int(info.f_bavail) * Int(info.f_frsize) >= 512 << 20, access(place, W_OK) == 0 else {
            return nil
        }
        removeLeftovers(in: place)
        return place
    }()

    /// What test processes that were killed left behind would take memory until the host is restarted.
    private static func removeLeftovers(in place: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? [] where name.hasPrefix(memoryPrefix) {
            guard let process = name.split(separator: "-").dropLast().last.flatMap({ pid_t($0) }) else { continue }
            if kill(process, 0) != 0, errno == ESRCH { try? FileManager.default.removeItem(atPath: "\(place)/\(name)") }
        }
    }
}
