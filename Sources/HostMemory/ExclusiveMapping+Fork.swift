internal import Glibc
public import VMTypes

extension ExclusiveMapping {
    /// The next forked child keeps no descriptor of the shadow file.
    public func closeShadow(in plan: ForkPlan) {
        try? whileMapped { () throws(StoreError) in
            if let shadow { plan.close(shadow.descriptor) }
        }
    }

    /// Leaves pages to the next forked child as they are at the fork; neither side sees the other's later stores.
    ///
    /// The kernel copies a page when one side stores to it. Pages that are filled on demand come to memory first, since
    /// nobody serves the child's faults; whoever forks keeps what else is mapped here from being moved while the child
    /// lives. Where a page can't be filled, nothing is left to the child.
    public func leave(_ pages: PageRange, _ protection: Protection, in plan: ForkPlan) throws(StoreError) {
        try whileMapped { () throws(StoreError) in
            let live = pages.intersection(self.live)
            guard live.count > 0 else { return }
            if let region {
                let scratch = FillBuffer()
                let scanner = PagemapScanner(capacity: FillBuffer.pages)
                for area in self.plan.areas where area.backing == .demand {
                    let part = area.pages.intersection(live)
                    var next = part.start
                    while next < part.end {
                        let window = PageRange(start: next, count: min(FillBuffer.pages, part.end - next))
                        if let error = region.fill(window, for: -1, scratch, scanner) { throw error }
                        next = window.end
                    }
                }
            }
            // The child shows the file's pages as they are now: they may not change any more.
            retireShadow()
            let start = address(of: live.start), length = live.count << Page.shift
            try plan.inherit(start, length)
            if tracking == .signal { plan.protect(start, length, protection.bits) }
        }
    }
}
