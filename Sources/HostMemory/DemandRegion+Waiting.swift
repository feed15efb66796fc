internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

extension DemandRegion {
    /// Serves a fault whose provider is waited for, on another thread.
    func serveApart(_ faultAddress: UInt64, _ provider: any WaitingPageProvider) {
        let page = page(at: faultAddress)
        do throws(StoreError) {
            try provider.runApart { [self] in
                var served = PageRange(start: page, count: 1)
                do throws(StoreError) {
                    if let area = state.withLock({ $0.plan.area(holding: page) }), area.backing == .demand {
                        served = try bring(page, within: area.pages, provider)
                    }
                } catch {
                    poison(page, error)
                }
                SystemCall.wake(address(of: served.start), served.count << Page.shift)
            }
        } catch {
            poison(page, error)
            SystemCall.wake(faultAddress, Page.size)
        }
    }

    /// Makes an absent page present, with those that the provider gives beside it; returns which. No lock is held while the
    /// provider is waited for; what others placed meanwhile stays.
    func bring(_ page: Int, within area: PageRange, _ provider: any WaitingPageProvider) throws(StoreError) -> PageRange {
        let one = PageRange(start: page, count: 1)
        while let generation = state.withLock({ $0.isClosed ? nil : $0.generation }) {
            guard let window = try absentRun(around: page, within: area, provider.clusterPages) else { return one }
            let brought: PageBytes
            do throws(StoreError) { brought = try provider.bring(window, for: page) } catch {
                // Whoever asked for it before may have placed it meanwhile, through another mapping too.
                guard try absentRun(around: page, within: area, 1) != nil else { return one }
                throw error
            }
            let shown = brought.pages.intersection(area)
            let isPlaced = try state.withLock { state throws(StoreError) in
                if state.isClosed { return true }
                guard state.generation == generation else { return false }
                try SystemCall.place(
                    brought.pointer(toPage: shown.start), at: address(of: shown.start), pages: shown.count, armed: arms)
                return true
            }
            if isPlaced { return shown }
        }
        return one
    }

    /// The absent pages that lie together around `page`; nil where it is present.
    private func absentRun(around page: Int, within area: PageRange, _ cluster: Int) throws(StoreError) -> PageRange? {
        let size = max(1, min(FillBuffer.pages, cluster))
        let window = PageRange(start: page - page % size, count: size).intersection(area)
        guard let file else { return window }
        var found: PageRange?
        try SystemCall.forEachAbsentRun(file.descriptor, firstPage: file.firstPage, window) { run in
            if run.contains(page) { found = run }
        }
        return found
    }
}
