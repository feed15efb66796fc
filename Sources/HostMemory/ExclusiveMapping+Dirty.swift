public import VMTypes

extension ExclusiveMapping {
    /// Appends, in order, the runs of pages stored to since the last call, and re-arms them.
    ///
    /// A store that is not ordered before the call is found by this call or by the next. Pages may be reported that
    /// hold what they held; a page stored to is never left out. Whoever wants bytes copies them after the call.
    ///
    /// - Throws: `.io` where the host's calls fail. Runs appended before the throw are re-armed: treat them as dirty.
    public func takeDirty(into runs: inout [PageRange]) throws(StoreError) {
        try whileMapped { () throws(StoreError) in
            try prepareLeft()
            let first = runs.count, end = runs.last?.end ?? 0
            defer {
                ages.looked(runs[first...])
                // What is found may have joined the caller's last run.
                if first > 0, runs[first - 1].end > end {
                    ages.stored([PageRange(start: end, count: runs[first - 1].end - end)])
                }
            }
            try tracker?.take(into: &runs)
        }
        if Mutant.isPlanted(.lastDirtyPageForgotten), let last = runs.last, last.count > 1 { runs[runs.count - 1].count -= 1 }
    }

    /// Pages were stored to that no look for stores will find: they were declared.
    public func noteStored(_ runs: [PageRange]) {
        try? whileMapped { () throws(StoreError) in ages.looked(runs[...]) }
    }

    /// Appends the same runs without re-arming them.
    public func peekDirty(into runs: inout [PageRange]) throws(StoreError) {
        try whileMapped { () throws(StoreError) in
            try prepareLeft()
            try tracker?.peek(into: &runs)
        }
    }

    /// Re-arms exactly these pages, without looking: for stores that were declared.
    public func rearm(_ pages: PageRange) throws(StoreError) {
        try checkLive(pages)
        guard pages.count > 0 else { return }
        try whileMapped { () throws(StoreError) in try tracker?.rearm(pages) }
    }
}
