internal import Glibc
public import VMTypes

extension SharedMemory {
    /// Puts whole pages into memory, whatever was there, in place for all mappings; no mapping counts them as stored to.
    ///
    /// A page that was absent is not filled for it.
    public func store(_ range: PageRange, from source: UnsafeRawPointer) throws(StoreError) {
        try checkLive(range)
        try locked { () throws(StoreError) in
            let position = inFile(range).start << Page.shift, count = range.count << Page.shift
            var done = 0
            while done < count {
                done += try SystemCall.check("pwrite") {
                    let written = pwrite(file, source + done, count - done, off_t(position + done))
                    return written < 0 ? -Int(errno) : written
                }
            }
            if !demandFill { filled.insertRun(range) }
        }
    }

    /// Puts whole pages into memory where there are none; those that are there stay as they are.
    ///
    /// - Parameter range: Pages that the provider fills (`RunKind.fill`), where memory is filled on demand.
    public func storeAbsent(_ range: PageRange, from source: UnsafeRawPointer) throws(StoreError) {
        try checkLive(range)
        try locked { () throws(StoreError) in
            guard demandFill, demand.missing(in: range).isEmpty else {
                throw StoreError(.invalid, "\(range.text) are not filled on demand")
            }
            try SystemCall.place(source, at: pagerAddress(of: range.start), pages: range.count, armed: false)
        }
    }
}
