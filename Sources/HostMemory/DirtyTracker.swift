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
    /// Sets the protection that the owner asks for.
    func protect(_ pages: PageRange, _ bits: Int32) throws(StoreError)
    /// No handler looks at the range when this returns.
    func stop()
}
