import Foundation

/// A control group with little memory, for tests that show what a process needs; removed with its last reference, when no
/// process is left in it.
///
/// Needs root and a writable hierarchy of memory control groups, of version 1 or 2: `reasonAgainst` says why there is none.
public final class MemoryGroup: Sendable {
    /// Its folder.
    public let path: String
    private static let version1 = "/sys/fs/cgroup/memory", version2 = "/sys/fs/cgroup"

    struct Failure: Error, CustomStringConvertible { let description: String }

    /// Why there can be none here; nil where there can.
    public static let reasonAgainst: String? = {
        do {
            _ = try MemoryGroup(mebibytes: 64)
            return nil
        } catch { return "\(error)" }
    }()

    public init(mebibytes: Int) throws {
        let isFirst = access(Self.version1 + "/memory.limit_in_bytes", F_OK) == 0
        path = (isFirst ? Self.version1 : Self.version2) + "/varve-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        guard mkdir(path, 0o755) == 0 else { throw Failure(description: "no control group can be made: errno \(errno)") }
        do {
            try write(isFirst ? "memory.limit_in_bytes" : "memory.max", "\(mebibytes << 20)")
            // Without swap space the limit is one of memory; with it, swapping must not help.
            try? write(isFirst ? "memory.memsw.limit_in_bytes" : "memory.swap.max", isFirst ? "\(mebibytes << 20)" : "0")
        } catch {
            rmdir(path)
            throw error
        }
    }

    deinit { rmdir(path) }

    private func write(_ name: String, _ value: String) throws { try Self.write(path + "/" + name, value) }

    private static func write(_ file: String, _ value: String) throws {
        let descriptor = open(file, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(description: "\(file): errno \(errno)") }
        defer { close(descriptor) }
        guard Glibc.write(descriptor, value, value.utf8.count) == value.utf8.count else {
            throw Failure(description: "\(file): errno \(errno)")
        }
    }

    /// Makes the calling process one of the group: what it takes from now on is counted.
    public static func join(_ path: String) throws { try write(path + "/cgroup.procs", "\(getpid())") }

    /// The most bytes that the group has had, as far as the kernel tells.
    public static func peak(_ path: String) -> Int? {
        for name in ["memory.max_usage_in_bytes", "memory.peak"] {
            if let text = try? String(contentsOfFile: path + "/" + name, encoding: .utf8) {
                return Int(text.trimmingCharacters(in: .whitespacesAndNewlines))
            }
        }
        return nil
    }
}
