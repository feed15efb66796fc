internal import CHostMemory
internal import Glibc
public import VMTypes

extension SharedMapping {
    /// Keeps pages in memory, or no longer.
    ///
    /// They are brought into memory first. A page counts once, however often it is wired.
    ///
    /// - Throws: `.full` where the process may not lock so much memory; the provider's failure as `.io`.
    public func wire(_ pages: PageRange, _ on: Bool) throws(StoreError) {
        try working(on: pages) { () throws(StoreError) in
            let live = pages.intersection(placement.live)
            guard live.count > 0 else { return }
            let start = placement.address(of: live.start), length = live.count << Page.shift
            guard on else { return try SystemCall.unlock(start, length) }
            try populate(live)
            try SystemCall.lock(start, length)
        }
    }

    /// Brings pages into memory by reading them; locking would fault pages that protections forbid to read.
    private func populate(_ live: PageRange) throws(StoreError) {
        let populateRead: Int32 = 22
        try SystemCall.advise(memory.pagerAddress(of: live.start), live.count << Page.shift, populateRead)
        var next = live.start
        while next < live.end {
            let isReadable = placement.protection(of: next) & PROT_READ != 0
            var end = placement.protections == nil ? live.end : next + 1
            while end < live.end, (placement.protection(of: end) & PROT_READ != 0) == isReadable { end += 1 }
            if isReadable {
                try SystemCall.advise(placement.address(of: next), (end - next) << Page.shift, populateRead)
            }
            next = end
        }
    }

    /// Whether a forked child gets the pages. It does not at first.
    ///
    /// What a child stores there is seen by all mappings, and by no dirty set.
    public func setForkBehavior(_ pages: PageRange, inherits: Bool) throws(StoreError) {
        try working(on: pages) { () throws(StoreError) in
            guard pages.count > 0 else { return }
            try SystemCall.advise(
                placement.address(of: pages.start), pages.count << Page.shift,
                Int32(inherits ? MADV_DOFORK : MADV_DONTFORK))
        }
    }
}

extension SystemCall {
    /// Keeps pages in memory; those that can't be read are kept once they are touched.
    static func lock(_ address: UInt64, _ byteCount: Int) throws(StoreError) {
        let number = injectedFailure() + -hm_lock_on_fault(address, UInt64(byteCount))
        guard number != 0 else { return }
        guard number == ENOMEM || number == EPERM || number == EAGAIN else { throw error("mlock", errno: number) }
        throw StoreError(
            .full, "\(byteCount) bytes at \(hexadecimal(address)) can't be kept in memory: "
                + String(cString: strerror(number)),
            advice: "Raise the limit of locked memory (ulimit -l)", errno: number)
    }

    static func unlock(_ address: UInt64, _ byteCount: Int) throws(StoreError) {
        try check("munlock") { munlock(pointer(address)!, byteCount) < 0 ? -Int(errno) : 0 }
    }
}
