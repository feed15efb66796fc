public import VMTypes

/// What a process that forks does with its page store.
///
/// A forked child makes no call into it: its locks and descriptors are its parent's. What it maps from the page store's
/// file stays pinned by a descriptor of its own.
extension PageStore {
    /// Holds what else may be half done across a fork; `forkIsOver` in the parent lets go of it.
    public func prepareFork() { state.lock() }

    public func forkIsOver() { state.unlock() }

    /// The descriptor that holds the writer's lock, for a forked child to close.
    public var writerDescriptor: Int32? { leases.writerDescriptor }

    /// A descriptor that pins what is mapped of `views` as long as a copy or a mapping of it lives, in whatever process; the
    /// caller's to close.
    ///
    /// - Throws: `.full` where all leases are taken; `.io`.
    public func makeDescriptor(pinning views: [ObjectView]) throws(StoreError) -> Int32 {
        try LeaseFile(path: folder + "/" + StoreFile.leases).descriptor(pinning: views)
    }
}
