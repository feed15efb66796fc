internal import Glibc
public import VMTypes

extension ForeignMemory {
    /// Shares what is mapped at `address` with the next forked child.
    public func share(_ pages: PageRange, at address: UInt64, in plan: ForkPlan) throws(StoreError) {
        try plan.inherit(address, pages.count << Page.shift)
    }

    /// Copies pages that are mapped at `address`, as they are now, for the next forked child.
    public func copy(_ pages: PageRange, at address: UInt64, _ protection: Protection, in plan: ForkPlan) throws(StoreError) {
        let live = pages.intersection(PageRange(start: 0, count: pageCount))
        guard live.count > 0 else { return }
        let start = address + UInt64(live.start - pages.start) << UInt64(Page.shift)
        try plan.copy(to: start, live.count << Page.shift, protection.bits) { (target) throws(StoreError) in
            let shown = inFile(live)
            try SystemCall.forEachPresentRun(descriptor, shown) { run throws(StoreError) in
                try SystemCall.read(target + (run.start - shown.start) << Page.shift, descriptor, run)
            }
        }
    }
}
