internal import CHostMemory
internal import Glibc
public import VMTypes

/// Lets threads that access a range wait while what is mapped there is exchanged for something else.
///
/// What takes more than one system call leaves the range inaccessible in between. A thread that loads or stores there
/// meanwhile waits in a SIGSEGV handler, and goes on with what is mapped then. A system call that is given such an address
/// in that moment answers EFAULT.
public enum HeldAccesses {
    /// Runs `body`, which itself does not access the range.
    public static func hold(_ range: Range<UInt64>, _ body: () throws(StoreError) -> Void) throws(StoreError) {
        let held = UnsafeMutablePointer<hm_tracked>.allocate(capacity: 1)
        let saved = UnsafeMutableRawPointer.allocate(byteCount: 128, alignment: 16)
        defer {
            held.deallocate()
            saved.deallocate()
        }
        held.initialize(to: hm_tracked())
        held.pointee.base = range.lowerBound
        held.pointee.page_count = UInt64(range.count) >> UInt64(Page.shift)
        try SystemCall.check("sigaction") { Int(hm_track_start(SignalTracker.openingLimit)) }
        hm_track_lock(held, saved)
        let added = hm_track_add(held)
        defer {
            hm_track_unlock(held, saved)
            // Returns when no handler looks at it.
            if added == 0 { hm_track_remove(held) }
        }
        try SystemCall.check("adding a held range") { Int(added) }
        try body()
    }
}
