internal import Glibc
public import VMTypes

extension ExclusiveMapping {
    /// What accesses are allowed to the pages before the object's end, in order.
    public var protectionRuns: [(pages: PageRange, protection: Protection)] {
        var runs: [(pages: PageRange, protection: Protection)] = []
        protections.forEachRun(in: live) { runs.append(($0, Protection(rawValue: $1))) }
        return runs
    }

    /// Allows loads and nothing else, whatever was asked for, until `protect` is called or it is unmapped: what is found
    /// stored to afterwards is all that ever was.
    public func freeze() throws(StoreError) {
        try whileMapped { () throws(StoreError) in
            guard live.count > 0 else { return }
            try SystemCall.protect(address(of: live.start), live.count << Page.shift, PROT_READ)
        }
    }

    /// Sets what accesses to the pages are allowed; the hardware enforces it.
    ///
    /// What was stored before stays dirty. Pages beyond the object's end may be named; they raise SIGBUS or SIGSEGV.
    ///
    /// - Throws: `.readOnly` for write access to a read-only mapping; `.full` at the host's limit of mappings.
    public func protect(_ pages: PageRange, _ protection: Protection) throws(StoreError) {
        guard pages.isWithin(self.pages) else {
            throw StoreError(.invalid, "\(pages.text) are not within the mapped \(self.pages)")
        }
        guard protection.isWellFormed else { throw StoreError(.invalid, "\(protection.rawValue) is no protection") }
        if protection.contains(.write), !writable {
            throw StoreError(.readOnly, "The mapping at \(hexadecimal(address)) is for reading only")
        }
        // Write access implies read access: so does the hardware.
        let bits = protection.bits | (protection.contains(.write) ? PROT_READ : 0)
        try whileMapped { () throws(StoreError) in
            let live = pages.intersection(self.live)
            if live.count > 0 {
                if let tracker {
                    try tracker.protect(live, bits)
                } else {
                    try SystemCall.protect(address(of: live.start), live.count << Page.shift, bits)
                    protections.set(live, bits)
                }
            }
            let beyond = PageRange(start: max(pages.start, live.end), count: 0)
            if beyond.start < pages.end {
                try SystemCall.protect(address(of: beyond.start), (pages.end - beyond.start) << Page.shift, bits)
            }
        }
    }
}
