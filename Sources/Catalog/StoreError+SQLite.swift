internal import CCatalog
internal import GRDB
internal import VMTypes

extension StoreError {
    /// The error for whatever a database access threw.
    ///
    /// - Parameters:
    ///   - doing: what failed, as in "read the objects".
    ///   - path: the catalog's file.
    static func catalog(_ error: any Error, doing: String, path: String) -> StoreError {
        switch error {
        case let error as StoreError: error
        case let fault as CheckedRow.Fault:
            StoreError(
                .damaged, "could not \(doing): column \(fault.column) holds \(fault.value)",
                advice: rebuildAdvice, path: path)
        case let error as DatabaseError: sqlite(error, doing: doing, path: path)
        default: StoreError(.io, "could not \(doing): \(error)", path: path)
        }
    }

    /// What to do about a catalog that cannot be trusted.
    static let rebuildAdvice = "The catalog is derived: `varve repair` makes it again from the page store"

    private static func sqlite(_ error: DatabaseError, doing: String, path: String) -> StoreError {
        if error.extendedResultCode == .SQLITE_IOERR_DATA {
            return StoreError(
                .damaged, "could not \(doing): page \(cc_last_damaged()) of the catalog (\(CC_PAGE) bytes) is not what was written",
                advice: rebuildAdvice, path: path)
        }
        let (code, advice) = meaning(of: error.resultCode)
        let reason = error.message ?? "no message"
        let number = "SQLite \(error.extendedResultCode.rawValue)"
        return StoreError(code, "could not \(doing): \(reason) [\(number)]", advice: advice, path: path)
    }

    private static func meaning(of code: ResultCode) -> (Code, advice: String) {
        switch code {
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            (.busy, "Another process holds the catalog: try again, or look for a reader that is stopped")
        case .SQLITE_READONLY:
            (.readOnly, "Open the store once for writing: it may have to finish what a crash interrupted")
        case .SQLITE_FULL: (.full, "Free space on the disk and try again; nothing was changed")
        case .SQLITE_IOERR: (.io, "Check the disk and the kernel's log; reopening the store settles what was written")
        case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH:
            (.io, "Check that the path is a file, and its permissions and those of its folder")
        case .SQLITE_NOMEM: (.io, "Free memory and try again")
        case .SQLITE_MISUSE: (.wrongState, "The catalog is closed: open it again")
        case .SQLITE_INTERRUPT, .SQLITE_ABORT: (.io, "Try again")
        default: (.damaged, rebuildAdvice)
        }
    }
}
