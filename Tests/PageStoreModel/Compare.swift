internal import Glibc

extension UnsafeRawBufferPointer {
    /// As `elementsEqual`, and fast in debug builds.
    func elementsEqualFast(_ other: UnsafeRawBufferPointer) -> Bool {
        count == other.count && memcmp(baseAddress!, other.baseAddress!, count) == 0
    }
}
