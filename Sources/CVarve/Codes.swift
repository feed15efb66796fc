internal import CVarveHeader
internal import Glibc
internal import Varve

/// The numbers of the header and the names of both kinds of results.
enum Codes {
    static func number(_ code: StoreError.Code) -> Int32 { Int32(bitPattern: constant(code).rawValue) }

    private static func constant(_ code: StoreError.Code) -> varve_code {
        switch code {
        case .noStore: VARVE_NO_STORE
        case .storeExists: VARVE_STORE_EXISTS
        case .locked: VARVE_LOCKED
        case .damaged: VARVE_DAMAGED
        case .newerFormat: VARVE_NEWER_FORMAT
        case .mismatchedFiles: VARVE_MISMATCHED_FILES
        case .notFound: VARVE_NOT_FOUND
        case .exists: VARVE_EXISTS
        case .invalid: VARVE_INVALID
        case .notRetained: VARVE_NOT_RETAINED
        case .full: VARVE_FULL
        case .io: VARVE_IO
        case .unknownOutcome: VARVE_UNKNOWN_OUTCOME
        case .poisoned: VARVE_POISONED
        case .readOnly: VARVE_READ_ONLY
        case .addressTaken: VARVE_ADDRESS_TAKEN
        case .unsupported: VARVE_UNSUPPORTED
        case .busy: VARVE_BUSY
        case .changedWhileRead: VARVE_CHANGED_WHILE_READ
        case .wrongState: VARVE_WRONG_STATE
        case .notReturned: VARVE_NOT_RETURNED
        }
    }

    /// Heaps fail for reasons of their own, and for the store's.
    static func number(_ error: HeapError) -> Int32 {
        let constant =
            switch error.code {
            case .full: VARVE_FULL
            case .invalid: VARVE_INVALID
            case .notAllocated: VARVE_NOT_ALLOCATED
            case .noRoot: VARVE_NOT_FOUND
            case .layoutMismatch: VARVE_LAYOUT_MISMATCH
            case .versionMismatch: VARVE_VERSION_MISMATCH
            case .unsuitableType: VARVE_UNSUITABLE_TYPE
            case .readOnly: VARVE_READ_ONLY
            case .uncommittedChanges: VARVE_UNCOMMITTED
            case .doomed: VARVE_DOOMED
            case .wrongState: VARVE_WRONG_STATE
            case .damaged: VARVE_DAMAGED
            case .newerFormat: VARVE_NEWER_FORMAT
            case .store: constant(error.cause?.code ?? .io)
            }
        return Int32(bitPattern: constant.rawValue)
    }

    static let aborted = Int32(bitPattern: VARVE_ABORTED.rawValue)

    /// Codes that only heaps have.
    private static let ofHeaps: [HeapError.Code] = [
        .notAllocated, .layoutMismatch, .versionMismatch, .unsuitableType, .uncommittedChanges, .doomed,
    ]

    private static let all: [StoreError.Code] = [
        .noStore, .storeExists, .locked, .damaged, .newerFormat, .mismatchedFiles, .notFound, .exists, .invalid, .notRetained,
        .full, .io, .unknownOutcome, .poisoned, .readOnly, .addressTaken, .unsupported, .busy, .changedWhileRead, .wrongState,
        .notReturned,
    ]

    /// The names as C's strings, which live as long as the library.
    private nonisolated(unsafe) static let names: [Int32: UnsafePointer<CChar>] = {
        var names: [Int32: UnsafePointer<CChar>] = [:]
        for code in all { names[number(code)] = permanent(code.rawValue) }
        names[aborted] = permanent("aborted")
        for code in ofHeaps { names[number(HeapError(code, ""))] = permanent(code.rawValue) }
        for number in Int32(0)..<64 {
            let name = KernReturn(rawValue: number).description
            if name != "KERN_RETURN(\(number))" { names[number] = permanent(name) }
        }
        return names
    }()
    private nonisolated(unsafe) static let unknown = permanent("UNKNOWN")
    nonisolated(unsafe) static let version = permanent(VARVE_VERSION)

    private static func permanent(_ text: String) -> UnsafePointer<CChar>? { UnsafePointer(strdup(text)) }

    static func name(_ code: Int32) -> UnsafePointer<CChar>? { names[code] ?? unknown }
}

@c @implementation
public func varve_code_name(_ code: Int32) -> UnsafePointer<CChar>! { Codes.name(code) }

@c @implementation
public func varve_version() -> UnsafePointer<CChar>! { Codes.version }
