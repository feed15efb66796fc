internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

/// Which pages are registered for demand faults.
///
/// Long runs that were never written are not: a first touch there costs no fault service. They are added when they come
/// to have bytes that memory may lack.
extension SharedMemory {
    /// Runs of the provider as the runs to register; short runs of zeros go with their neighbours.
    static func demandRuns(_ provider: any PageProvider, in range: PageRange) throws(StoreError) -> [PageRange] {
        let served = try provider.checkedRuns(in: range).map { run in
            if case .file = run.kind { return (pages: run.pages, kind: RunKind.fill) }
            return run
        }
        let plan = MappingPlan(
            served, pages: range, minimumRun: 16, demandFill: true,
            budget: MappingBudget.available / 4)
        return plan.areas.compactMap { $0.backing == .demand ? $0.pages : nil }
    }

    /// Registers pages in our own mapping and in all others, and will in those to come.
    func extendDemand(_ added: [PageRange]) throws(StoreError) {
        for run in added where run.count > 0 {
            for piece in demand.missing(in: run) {
                try registerPager(piece)
                for placement in placements.values { try register(piece, in: placement) }
                demand.insertRun(piece)
            }
        }
        guard !added.isEmpty else { return }
        for region in regions {
            let plan = MappingPlan(demand: demand, in: region.pages)
            region.state.withLock { $0.plan = plan }
        }
    }

    private func registerPager(_ pages: PageRange) throws(StoreError) {
        if pagerRegion == nil { pagerRegion = addRegion(base, live, arms: false) }
        try SystemCall.register(pagerAddress(of: pages.start), pages.count << Page.shift, mode: HM_REGISTER_MISSING)
    }

    /// A region for pages at `address`, which the fault service knows from now on.
    func addRegion(_ address: UInt64, _ pages: PageRange, arms: Bool) -> DemandRegion {
        let region = DemandRegion(
            base: address, pages: pages, plan: MappingPlan(demand: demand, in: pages), provider: provider, arms: arms,
            file: (file, firstFilePage))
        FaultService.add(region)
        return region
    }

    /// Registers those of `pages` that the placement shows.
    func register(_ pages: PageRange, in placement: SharedPlacement) throws(StoreError) {
        let part = pages.intersection(placement.live)
        guard part.count > 0 else { return }
        if placement.region == nil {
            placement.region = addRegion(placement.address, placement.live, arms: placement.arms)
        }
        try SystemCall.register(
            placement.address(of: part.start), part.count << Page.shift,
            mode: HM_REGISTER_MISSING | (placement.arms ? HM_REGISTER_WP : 0))
    }

    /// Makes what the fault service is fetching stale: it fetches again.
    func countGeneration() {
        for region in regions { region.state.withLock { $0.generation += 1 } }
    }
}

extension SharedMemory {
    /// Makes poisoned pages absent again, in every mapping and in our own.
    func heal(_ range: PageRange) throws(StoreError) {
        for placement in placements.values {
            guard let region = placement.region else { continue }
            try heal(range, region) { page in
                let bits = placement.protection(of: page)
                return placement.tracker is SharedSignalTracker ? bits & ~PROT_WRITE : bits
            }
        }
        if let pagerRegion { try heal(range, pagerRegion) { _ in PROT_READ | PROT_WRITE } }
    }

    private func heal(
        _ range: PageRange, _ region: DemandRegion, protection: (Int) -> Int32
    ) throws(StoreError) {
        for page in region.state.withLock({ $0.poisoned.filter(range.contains).sorted() }) {
            let place = region.address(of: page)
            // Inaccessible until it is registered: nobody may read zeros meanwhile.
            try SystemCall.mapShared(place, file, inFile(PageRange(start: page, count: 1)), protection: PROT_NONE)
            try SystemCall.register(place, Page.size, mode: HM_REGISTER_MISSING | (region.arms ? HM_REGISTER_WP : 0))
            try SystemCall.protect(place, Page.size, protection(page))
            _ = region.state.withLock { $0.poisoned.remove(page) }
        }
    }
}
