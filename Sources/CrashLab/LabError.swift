internal import Glibc

/// Why the lab could not do its work; never a finding about the store.
public struct LabError: Error, CustomStringConvertible, Sendable {
    public let description: String

    public init(_ description: String) { self.description = description }

    /// A system call that failed just now.
    static func system(_ what: String) -> LabError { LabError("\(what): \(String(cString: strerror(errno)))") }
}
