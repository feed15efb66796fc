internal import CHostMemory
internal import Glibc
internal import VMTypes

extension SystemCall {
    static func register(_ address: UInt64, _ byteCount: Int, mode: UInt64) throws(StoreError) {
        try check("UFFDIO_REGISTER") { Int(hm_uffd_register(hm_uffd(), address, UInt64(byteCount), mode)) }
    }

    static func writeProtect(_ address: UInt64, _ byteCount: Int) throws(StoreError) {
        try check("UFFDIO_WRITEPROTECT") {
            var result: Int32
            repeat { result = hm_uffd_write_protect(hm_uffd(), address, UInt64(byteCount), 1) } while result == -EAGAIN
            return Int(result)
        }
    }

    /// Places pages where none are; those that are present stay as they are. Wakes nobody.
    static func place(
        _ source: UnsafeRawPointer, at address: UInt64, pages: Int, armed: Bool
    ) throws(StoreError) {
        let byteCount = pages << Page.shift
        var done = 0
        // One call can't cross kernel mappings, which protections cut: then page by page.
        var most = byteCount
        while done < byteCount {
            var copied: Int64 = 0
            let result = hm_uffd_copy(
                hm_uffd(), address + UInt64(done), source + done, UInt64(min(most, byteCount - done)), armed ? 1 : 0, &copied)
            done += Int(copied)
            switch result {
            case 0, -EAGAIN: continue
            case -EEXIST: if copied == 0 { done += Page.size }
            case -ENOENT where most > Page.size: most = Page.size
            default: throw error("UFFDIO_COPY", errno: -result)
            }
        }
    }

    static func wake(_ address: UInt64, _ byteCount: Int) {
        _ = hm_uffd_wake(hm_uffd(), address, UInt64(byteCount))
    }
}
