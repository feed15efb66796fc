internal import Varve

/// Why a command ends early, beside what a store throws.
enum CommandFailure: Error {
    /// Whoever read the output went away; nothing is wrong.
    case outputClosed
    /// The person who was asked said no.
    case declined
    /// The command line asks for something that can't be.
    case usage(message: String, advice: String)
}

extension ExitStatus {
    /// The exit code for a store's error.
    init(_ code: StoreError.Code) {
        switch code {
        case .noStore: self = .noStore
        case .locked: self = .locked
        case .damaged, .mismatchedFiles: self = .damaged
        case .newerFormat: self = .newerFormat
        default: self = .failure
        }
    }
}

extension ExitStatus {
    /// The exit code for a heap's error.
    init(_ error: HeapError) {
        switch error.code {
        case .damaged: self = .damaged
        case .newerFormat: self = .newerFormat
        case .store: self = error.cause.map { ExitStatus($0.code) } ?? .failure
        default: self = .failure
        }
    }
}

extension StoreError {
    /// A system call that failed in a command, not in a store.
    static func system(_ what: String, path: String? = nil, errno: Int32, advice: String = "") -> StoreError {
        StoreError(.io, what, advice: advice, path: path, errno: errno)
    }
}
