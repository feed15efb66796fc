internal import VMTypes

extension DemandRegion {
    /// Of `stretches`, absent pages of `window`, those that are worth bringing now with `page`, of which the service's thread was asked.
    func worthwhile(_ stretches: [PageRange], _ window: PageRange, for page: Int, _ pace: ReadPace) -> [PageRange] {
        guard pace.isLooking else { return stretches }
        let file = provider.fileDescriptor
        let away = provider.places(in: window).filter { place in
            !stretches.overlapping(place.pages).isEmpty && !SystemCall.isCached(file, place.offset, place.pages.count << Page.shift)
        }
        guard !away.isEmpty else {
            pace.sawAll()
            return stretches
        }
        pace.sawMissing()
        // The kernel reads ahead where pages were written in this order too. Asking it for each (POSIX_FADV_WILLNEED) took longer.
        if pace.isInOrder(address(of: page)) { return stretches }
        // What lies beside it in the file comes with one read.
        var near = stretches
        for place in away where !place.pages.contains(page) { near = near.flatMap { [place.pages].missing(in: $0) } }
        return near
    }
}
