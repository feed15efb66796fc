internal import CCrashRecorderHeader
internal import Glibc

/// A call that is to fail.
struct Fault: Hashable, CustomStringConvertible {
    /// The kinds of calls that may fail, as `crash_call` numbers them.
    enum Call: UInt32, CaseIterable {
        case open = 1, read, write, sync, truncate, allocate, rename, remove, makeFolder, map, allocateMemory

        var name: String {
            switch self {
            case .open: "open"
            case .read: "read"
            case .write: "write"
            case .sync: "sync"
            case .truncate: "truncate"
            case .allocate: "fallocate"
            case .rename: "rename"
            case .remove: "unlink"
            case .makeFolder: "mkdir"
            case .map: "mmap"
            case .allocateMemory: "malloc"
            }
        }

        /// With what it may fail, and whether all calls after it do so too.
        var ends: [(error: Int32, isLasting: Bool)] {
            let both = { (error: Int32) in [(error: error, isLasting: false), (error: error, isLasting: true)] }
            let interrupted = [(error: EINTR, isLasting: false)]
            switch self {
            case .open: return both(EIO) + both(ENOSPC) + both(EMFILE)
            case .read: return both(EIO) + interrupted + both(CRASH_CALL_IS_SHORT.rawValue)
            case .write: return both(EIO) + both(ENOSPC) + interrupted + both(CRASH_CALL_IS_SHORT.rawValue)
            case .sync, .allocate: return both(EIO) + both(ENOSPC) + interrupted
            case .truncate, .rename, .remove, .makeFolder: return both(EIO) + both(ENOSPC)
            case .map, .allocateMemory: return both(ENOMEM)
            }
        }
    }

    var call: Call
    /// One place; 0: any.
    var site: UInt64 = 0
    var number: Int
    var error: Int32
    var isLasting: Bool

    /// As `VARVE_CRASHLAB_FAULT` has it.
    var variable: String { "\(call.rawValue):\(String(site, radix: 16)):\(number):\(error):\(isLasting ? 1 : 0)" }

    var description: String {
        let how = error == CRASH_CALL_IS_SHORT.rawValue ? "cut short" : "failed with '\(String(cString: strerror(error)))'"
        return "\(call.name) \(number)\(site == 0 ? "" : " at \(String(site, radix: 16))")\(isLasting ? " and all later ones" : "") \(how)"
    }
}
