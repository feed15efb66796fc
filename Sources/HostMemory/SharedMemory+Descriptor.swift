internal import Glibc
public import VMTypes

extension SharedMemory {
    /// A new descriptor of the memory file for another process; the caller closes it.
    ///
    /// All committed bytes are brought into memory first, since nobody serves the other process's faults; from then on
    /// nothing can be discarded. What the other process stores is in no dirty set: `presentRuns` bounds it, and
    /// `isHeldForWriting` says for how long.
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
            // Opened anew, so that the lock is the descriptor's and not ours.
            let made = try SystemCall.openAnew(file, readOnly: readOnly)
            if !readOnly {
                do throws(StoreError) {
                    try SystemCall.check("flock") { flock(made, LOCK_SH | LOCK_NB) < 0 ? -Int(errno) : 0 }
                } catch {
                    close(made)
                    throw error
                }
            }
            isExported = true
            return made
        }
    }

    /// Whether anybody still has a writable descriptor that `makeDescriptor` made, one that a slice was lent through, or a
    /// mapping of one.
    ///
    /// The kernel keeps a descriptor's lock as long as a copy or a mapping of it lives, in whatever process. Where this is
    /// false, all that was stored through descriptors was stored before the call.
    public var isHeldForWriting: Bool {
        let isHeld = try? locked { () throws(StoreError) in
            guard isAlone else { return SystemCall.isLocked(file, inFile(live)) }
            guard flock(file, LOCK_EX | LOCK_NB) == 0 else { return true }
            flock(file, LOCK_UN)
            return false
        }
        return isHeld ?? true
    }
}
