/// What `vm_msync` does with a range (`vm_sync_t`), with Mach's numbers.
///
/// ``asynchronous`` and ``synchronous`` exclude each other.
public struct SyncFlags: OptionSet, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The commit is scheduled; the call does not wait for it.
    public static let asynchronous = SyncFlags(rawValue: 1)
    /// The range is durable when the call returns.
    public static let synchronous = SyncFlags(rawValue: 2)
    /// Uncommitted changes of the range are dropped and the last committed bytes read again.
    public static let invalidate = SyncFlags(rawValue: 4)
    /// As ``invalidate``: uncommitted changes of the range are dropped, not written.
    public static let killPages = SyncFlags(rawValue: 8)
    /// The pages are not expected to be used soon.
    public static let deactivate = SyncFlags(rawValue: 16)
    /// A hole in the range is INVALID_ADDRESS.
    public static let contiguous = SyncFlags(rawValue: 32)

    /// Every flag that has a meaning.
    public static let all: SyncFlags = [
        .asynchronous, .synchronous, .invalidate, .killPages, .deactivate, .contiguous,
    ]

    /// True where no unknown bit is set and at most one of ``asynchronous`` and ``synchronous`` is.
    ///
    /// Flags that are not well formed are INVALID_ARGUMENT.
    public var isWellFormed: Bool {
        isSubset(of: .all) && !isSuperset(of: [.asynchronous, .synchronous])
    }

    /// The names of the flags joined by `|`, unknown bits in hexadecimal; `0` where none is set.
    public var description: String {
        let names: [(SyncFlags, String)] = [
            (.asynchronous, "asynchronous"), (.synchronous, "synchronous"), (.invalidate, "invalidate"),
            (.killPages, "kill-pages"), (.deactivate, "deactivate"), (.contiguous, "contiguous"),
        ]
        var parts = names.filter { contains($0.0) }.map(\.1)
        let unknown = subtracting(.all).rawValue
        if unknown != 0 { parts.append("0x" + String(unknown, radix: 16)) }
        return parts.isEmpty ? "0" : parts.joined(separator: "|")
    }
}
