internal import CHostMemory
internal import Glibc

extension SystemCall {
    /// Whether all bytes of a file's range are in memory; true too where the kernel doesn't say.
    static func isCached(_ file: Int32, _ offset: Int, _ length: Int) -> Bool { hm_is_cached(file, UInt64(offset), UInt64(length)) != 0 }

    /// Asks for bytes of a file that are about to be read; nobody waits for them.
    static func startReading(_ file: Int32, _ offset: Int, _ length: Int) {
        _ = posix_fadvise(file, off_t(offset), off_t(length), POSIX_FADV_WILLNEED)
    }
}
