internal import Glibc
public import VMTypes

extension SharedMemory {
    /// A new descriptor of the memory file for another process; the caller closes it.
    ///
    /// All committed bytes are brought into memory first, since nobody serves the other process's faults; from then on
    /// nothing can be discarded. What the other process stores is in no dirty set: `presentRuns` bounds it.
    ///
    /// - Parameter readOnly: The kernel refuses to map the descriptor writable. A process of the same user can open the
    ///   file anew: within one user this guards against mistakes, not malice.
    /// - Throws: `.wrongState` for a slice of an arena; the provider's errors; `.full` at the limit of open files.
    public func makeDescriptor(readOnly: Bool) throws(StoreError) -> Int32 {
        try locked { () throws(StoreError) in
            guard isAlone else {
                throw StoreError(.wrongState, "A slice of an arena's memory file can't be given to another process")
            }
            try fillAbsent(live)
            let made = try SystemCall.check(readOnly ? "open" : "fcntl") {
                let result = readOnly
                    ? open("/proc/self/fd/\(file)", O_RDONLY | O_CLOEXEC) : fcntl(file, F_DUPFD_CLOEXEC, 0)
                return result < 0 ? -Int(errno) : Int(result)
            }
            isExported = true
            return Int32(made)
        }
    }
}
