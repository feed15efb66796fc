internal import CHostMemory
internal import Glibc
public import VMTypes

extension SharedMapping {
    /// Shares pages with the next forked child: each side sees the other's stores.
    ///
    /// What is committed comes to memory first, since nobody serves the child's faults; from then on nothing can be
    /// discarded. What the child stores is in no dirty set: `SharedMemory.presentRuns` bounds it.
    public func share(_ pages: PageRange, _ protection: Protection, in plan: ForkPlan) throws(StoreError) {
        try working(on: pages) { () throws(StoreError) in
            let live = pages.intersection(placement.live)
            guard live.count > 0 else { return }
            try memory.fillAbsent(live)
            memory.isExported = true
            let start = placement.address(of: live.start), length = live.count << Page.shift
            try plan.inherit(start, length)
            if memory.tracking == .signal { plan.protect(start, length, protection.bits) }
        }
    }

    /// Copies pages, as they are now, for the next forked child; neither side sees the other's later stores.
    ///
    /// Costs a copy of all that was ever stored to them.
    public func copy(_ pages: PageRange, _ protection: Protection, in plan: ForkPlan) throws(StoreError) {
        try working(on: pages) { () throws(StoreError) in
            let live = pages.intersection(placement.live)
            guard live.count > 0 else { return }
            if !memory.demandFill { try memory.fillAbsent(live) }
            let memory = memory
            try plan.copy(to: placement.address(of: live.start), live.count << Page.shift, protection.bits) {
                (target) throws(StoreError) in
                func place(_ page: Int) -> UnsafeMutableRawPointer { target + (page - live.start) << Page.shift }
                var absent = memory.demand.overlapping(live)
                try SystemCall.forEachPresentRun(memory.file, memory.inFile(live)) { run throws(StoreError) in
                    let own = PageRange(start: run.start - memory.firstFilePage, count: run.count)
                    try SystemCall.read(place(own.start), memory.file, run)
                    absent = absent.flatMap { $0.without(own) }
                }
                for part in absent {
                    for run in try memory.provider.checkedRuns(in: part) {
                        switch run.kind {
                        case .file, .fill: try memory.provider.fill(run.pages, into: place(run.pages.start))
                        case .zero, .beyondEnd: break
                        }
                    }
                }
            }
        }
    }
}

extension PageRange {
    /// What is left where `other` is taken out.
    func without(_ other: PageRange) -> [PageRange] {
        let before = PageRange(start: start, count: max(0, min(end, other.start) - start))
        let first = max(start, other.end)
        let after = PageRange(start: first, count: max(0, end - first))
        return [before, after].filter { $0.count > 0 }
    }
}
