internal import CHostMemory

extension SystemCall {
    /// Whether all bytes of a file's range are in memory; true too where the kernel doesn't say.
    static func isCached(_ file: Int32, _ offset: Int, _ length: Int) -> Bool { hm_is_cached(file, UInt64(offset), UInt64(length)) != 0 }
}
