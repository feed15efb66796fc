import Foundation

/// A folder that is removed with its last reference.
public final class TemporaryFolder: Sendable {
    public let path: String

    public init(_ prefix: String = "varve-test") {
        path = NSTemporaryDirectory() + "\(prefix)-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
