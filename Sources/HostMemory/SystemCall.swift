internal import Glibc
internal import Synchronization
internal import VMTypes

/// The system calls on mappings. Every call of this module goes through `check`, which turns an errno into an
/// error and in debug builds can fail the n-th call.
enum SystemCall {
    #if DEBUG
    /// Calls left until one fails with `failureErrno`; negative: none does. For tests, in a process of their own.
    static let callsUntilFailure = Atomic<Int>(-1)
    static let failureErrno = Atomic<Int32>(ENOMEM)
    #endif

    /// The errno of a call to fail now, or 0.
    static func injectedFailure() -> Int32 {
        #if DEBUG
        guard callsUntilFailure.load(ordering: .relaxed) >= 0 else { return 0 }
        let left = callsUntilFailure.wrappingSubtract(1, ordering: .relaxed).oldValue
        return left == 0 ? failureErrno.load(ordering: .relaxed) : 0
        #else
        return 0
        #endif
    }

    /// Runs a call that returns 0 or more, or a negated errno.
    @discardableResult
    static func check(_ name: String, _ call: () -> Int) throws(StoreError) -> Int {
        let injected = injectedFailure()
        let result = injected == 0 ? call() : -Int(injected)
        guard result < 0 else { return result }
        throw error(name, errno: Int32(truncatingIfNeeded: -result))
    }

    /// What a failed call means to the store.
    static func error(_ name: String, errno number: Int32) -> StoreError {
        let text = String(cString: strerror(number))
        switch number {
        case ENOMEM:
            return StoreError(
                .full, "\(name) failed: \(text)", advice: "Raise vm.max_map_count, or free memory", errno: number)
        case ENOSPC, EDQUOT:
            return StoreError(.full, "\(name) failed: \(text)", advice: "Free space on the disk", errno: number)
        case EFBIG:
            return StoreError(
                .full, "\(name) failed: \(text)", advice: "Raise the limit of a file's size (ulimit -f)", errno: number)
        case EMFILE, ENFILE:
            return StoreError(
                .full, "\(name) failed: \(text)", advice: "Raise the limit of open files", errno: number)
        case EPERM, EACCES, ENOSYS, EOPNOTSUPP:
            return StoreError(.unsupported, "\(name) is not allowed here: \(text)", errno: number)
        default:
            return StoreError(.io, "\(name) failed: \(text)", errno: number)
        }
    }

    static func pointer(_ address: UInt64) -> UnsafeMutableRawPointer? {
        UnsafeMutableRawPointer(bitPattern: UInt(address))
    }

    /// Maps at exactly `address` (over what is there), or where the kernel likes for 0.
    @discardableResult
    static func map(
        _ address: UInt64, _ byteCount: Int, protection: Int32, flags: Int32, file: Int32 = -1, offset: Int = 0
    ) throws(StoreError) -> UInt64 {
        var mapped: UInt64 = 0
        try check("mmap") {
            guard let result = mmap(pointer(address), byteCount, protection, flags, file, offset),
                result != UnsafeMutableRawPointer(bitPattern: -1)
            else { return -Int(errno) }
            mapped = UInt64(UInt(bitPattern: result))
            return 0
        }
        return mapped
    }

    /// Puts an inaccessible reservation over the range.
    static func reserve(_ address: UInt64, _ byteCount: Int) throws(StoreError) {
        try map(address, byteCount, protection: PROT_NONE, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED)
    }

    static func unmap(_ address: UInt64, _ byteCount: Int) throws(StoreError) {
        try check("munmap") { munmap(pointer(address)!, byteCount) < 0 ? -Int(errno) : 0 }
    }

    static func protect(_ address: UInt64, _ byteCount: Int, _ protection: Int32) throws(StoreError) {
        try check("mprotect") { mprotect(pointer(address)!, byteCount, protection) < 0 ? -Int(errno) : 0 }
    }

    static func advise(_ address: UInt64, _ byteCount: Int, _ advice: Int32) throws(StoreError) {
        try check("madvise") { madvise(pointer(address)!, byteCount, advice) < 0 ? -Int(errno) : 0 }
    }

    /// Drops private pages: what lies beneath them shows again. Locked pages too, where the kernel can.
    static func drop(_ address: UInt64, _ byteCount: Int) throws(StoreError) {
        let dontNeedLocked: Int32 = 24
        try check("madvise") {
            if madvise(pointer(address)!, byteCount, dontNeedLocked) == 0 { return 0 }
            return madvise(pointer(address)!, byteCount, Int32(MADV_DONTNEED)) < 0 ? -Int(errno) : 0
        }
    }
}
