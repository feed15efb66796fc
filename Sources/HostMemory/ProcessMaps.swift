internal import Glibc

/// The process's own mappings, and small files of /proc and /sys.
enum ProcessMaps {
    /// The text of a small file, or nil where it can't be read.
    static func text(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(file, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
    }

    /// The line of /proc/self/maps for the first mapping in the range.
    static func firstLine(overlapping range: Range<UInt64>) -> String? {
        for line in (text("/proc/self/maps") ?? "").split(separator: "\n") {
            let bounds = line.prefix { $0 != " " }.split(separator: "-")
            guard bounds.count == 2, let start = UInt64(bounds[0], radix: 16), let end = UInt64(bounds[1], radix: 16)
            else { continue }
            if start < range.upperBound && end > range.lowerBound {
                return line.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
            }
        }
        return nil
    }
}
