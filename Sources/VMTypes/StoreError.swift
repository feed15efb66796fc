/// What went wrong in a store: a stable code, where, and what to do about it.
public struct StoreError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kinds of failure; stable, so that programs may switch over them.
    public enum Code: String, Hashable, Sendable {
        /// The path holds no store.
        case noStore
        /// Something stands where the store was to be created.
        case storeExists
        /// Another process is the store's writer.
        case locked
        /// Bytes on disk are not what was written.
        case damaged
        /// The store was made by a newer format than this build knows.
        case newerFormat
        /// The files of the store do not belong together.
        case mismatchedFiles
        /// No object, task, snapshot or version of that name is there.
        case notFound
        /// The name is taken.
        case exists
        /// An argument is malformed or out of range.
        case invalid
        /// The version is no longer kept.
        case notRetained
        /// The disk, the ring or a limit of the host is exhausted; nothing was changed.
        case full
        /// A system call failed; nothing was changed.
        case io
        /// A flush failed: the commit may or may not be durable. Reopening settles it to one answer.
        case unknownOutcome
        /// An earlier failure made this handle unusable; reopen the store.
        case poisoned
        /// The store is open for reading only, or the state is a past one.
        case readOnly
        /// The address range wanted is taken by something else in this process.
        case addressTaken
        /// The host lacks what is needed (a kernel feature, another page size).
        case unsupported
        /// The object is in use in a way that excludes this call.
        case busy
        /// A file changed while it was read.
        case changedWhileRead
        /// The version stands, but a memory manager did not take the pages that belong to it.
        case notReturned
        /// The call is not allowed in a forked child or in this state.
        case wrongState
    }

    public let code: Code
    /// What failed, in one sentence.
    public let message: String
    /// What to do about it, in one sentence; empty where nothing can be said.
    public let advice: String
    /// The file or folder concerned.
    public let path: String?
    /// The system's error number, where a system call failed.
    public let errno: Int32?

    public init(_ code: Code, _ message: String, advice: String = "", path: String? = nil, errno: Int32? = nil) {
        self.code = code
        self.message = message
        self.advice = advice
        self.path = path
        self.errno = errno
    }

    public var description: String {
        var text = message
        if let path { text += " (\(path))" }
        if let errno { text += ": errno \(errno)" }
        if !advice.isEmpty { text += ". \(advice)" }
        return text
    }
}
