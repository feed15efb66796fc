public import VMTypes

/// What went wrong in a heap: a stable code, what failed on what, and what to do about it.
public struct HeapError: Error, Sendable, CustomStringConvertible {
    /// The kinds of failure; stable, so that programs may switch over them.
    public enum Code: String, Hashable, Sendable {
        /// The heap has no room left for the block.
        case full
        /// An argument is malformed or out of range: a size, an alignment, a name.
        case invalid
        /// The offset is not the beginning of an allocated block: it was freed already, or never allocated.
        case notAllocated
        /// No root of that name is there.
        case noRoot
        /// The root was made of another type, or the type's layout has changed since.
        case layoutMismatch
        /// The root's version is older than the one asked for and nothing upgrades it, or newer.
        case versionMismatch
        /// The type can't be kept in this heap: it holds what means nothing in another process.
        case unsuitableType
        /// The heap shows a past state, or is open for reading.
        case readOnly
        /// A transaction would begin on changes that no commit has made durable.
        case uncommittedChanges
        /// A transaction inside was abandoned, so that this one can't be committed.
        case doomed
        /// The call is not allowed in this state: the heap was closed, or a transaction is under way.
        case wrongState
        /// What the heap's bytes say contradicts itself.
        case damaged
        /// The heap was made by a newer format than this build knows.
        case newerFormat
        /// The store failed; `cause` says how.
        case store
    }

    public let code: Code
    /// What failed, in one sentence.
    public let message: String
    /// What to do about it, in one sentence; empty where nothing can be said.
    public let advice: String
    /// What the store said, where `code` is `.store`.
    public let cause: StoreError?

    public init(_ code: Code, _ message: String, advice: String = "") {
        self.code = code
        self.message = message
        self.advice = advice
        cause = nil
    }

    /// The store's own failure, unchanged.
    public init(_ cause: StoreError) {
        code = .store
        message = cause.description
        advice = cause.advice
        self.cause = cause
    }

    public var description: String {
        if cause != nil || advice.isEmpty { return message }
        return "\(message). \(advice)"
    }

    /// Runs what may fail in the store.
    static func translating<Result>(_ body: () throws(StoreError) -> Result) throws(HeapError) -> Result {
        do throws(StoreError) { return try body() } catch { throw HeapError(error) }
    }
}
