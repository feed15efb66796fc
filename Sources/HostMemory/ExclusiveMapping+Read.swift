internal import Glibc
public import VMTypes

extension ExclusiveMapping {
    /// Copies whole pages out of memory, also where their protection forbids loads.
    ///
    /// Pages that were stored to are always in memory. Copying an absent page fills it, and raises SIGBUS as any
    /// load does where it can't be filled.
    public func copyOut(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
        try checkLive(range)
        try whileMapped { () throws(StoreError) in
            try protections.forEachRun(in: range) { run, bits throws(StoreError) in
                let source = address(of: run.start), length = run.count << Page.shift
                let target = destination + (run.start - range.start) << Page.shift
                if bits & PROT_READ != 0 {
                    memcpy(target, SystemCall.pointer(source)!, length)
                } else {
                    try SystemCall.protect(source, length, PROT_READ)
                    memcpy(target, SystemCall.pointer(source)!, length)
                    try SystemCall.protect(source, length, bits)
                }
            }
        }
    }

    /// How many pages are in memory; 0 once unmapped.
    public func residentPageCount() -> Int {
        let count = try? whileMapped { () throws(StoreError) in
            let file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { throw SystemCall.error("open", errno: errno) }
            defer { close(file) }
            var entries = [UInt64](repeating: 0, count: 8192)
            var resident = 0
            var page = live.start
            while page < live.end {
                let wanted = min(entries.count, live.end - page) * 8
                let position = Int(address(of: page) >> UInt64(Page.shift)) * 8
                let got = entries.withUnsafeMutableBytes { pread(file, $0.baseAddress, wanted, off_t(position)) }
                guard got >= 8 else { break }
                // Bit 63: present.
                for index in 0..<got / 8 where entries[index] >> 63 != 0 { resident += 1 }
                page += got / 8
            }
            return resident
        }
        return count ?? 0
    }
}
