internal import VMTypes

/// Finds the pages stored to. Callers hold the mapping's lock; page numbers are the object's.
protocol DirtyTracker: AnyObject {
    /// Appends the pages stored to, and re-arms them.
    ///
    /// Runs appended before a throw are re-armed: they count as dirty.
    func take(into runs: inout [PageRange]) throws(StoreError)
    /// Appends the pages stored to.
    func peek(into runs: inout [PageRange]) throws(StoreError)
    /// Makes pages clean.
    func rearm(_ pages: PageRange) throws(StoreError)
    /// Runs `body` while the pages, all of one protection that was asked for, can be stored to; afterwards they
    /// are clean.
    func replacing(_ pages: PageRange, _ body: () throws(StoreError) -> Void) throws(StoreError)
    /// Runs `body`, which maps pages of one protection anew with the protection it is given, unless one of them has been
    /// stored to; afterwards they are clean. Returns whether it ran.
    ///
    /// Stores of other threads between the look and `body` are lost, but where the pages' protection holds them off.
    func exchange(_ pages: PageRange, _ body: (Int32) throws(StoreError) -> Void) throws(StoreError) -> Bool
    /// Whether none of the pages has been stored to, as far as can be told without touching their kernel page tables.
    func isClean(_ pages: PageRange) throws(StoreError) -> Bool
    /// Sets the protection that the owner asks for.
    func protect(_ pages: PageRange, _ bits: Int32) throws(StoreError)
    /// No handler looks at the range when this returns.
    func stop()
}
