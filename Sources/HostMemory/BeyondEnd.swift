internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

/// Memory whose every access raises SIGBUS: a mapping of a file without bytes.
enum BeyondEnd {
    private static let file = Mutex<Int32>(-1)

    static func map(_ address: UInt64, _ byteCount: Int) throws(StoreError) {
        let descriptor = try file.withLock { file throws(StoreError) in
            if file < 0 {
                file = Int32(try SystemCall.check("memfd_create") { Int(hm_empty_memory()) })
            }
            return file
        }
        try SystemCall.map(
            address, byteCount, protection: PROT_READ | PROT_WRITE, flags: MAP_SHARED | MAP_FIXED, file: descriptor)
    }
}
