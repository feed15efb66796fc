internal import AddressMap
internal import HostMemory
internal import PageStore
public import VMTypes

extension VMTask {
    /// The region that contains `address`, else the next one above (vm_region).
    ///
    /// Looks at every page of it: the cost follows its size. INVALID_ADDRESS where there is none; TERMINATED.
    public func region(_ address: UInt64) throws(VMError) -> RegionInfo {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard let entry = map.lookupOrNext(address) else {
                throw VMError(.invalidAddress, "no region lies at or above 0x\(String(address, radix: 16))")
            }
            var info = RegionInfo(
                start: entry.start, end: entry.end, current: entry.current, maximum: entry.maximum,
                inheritance: entry.inheritance, isShared: false, object: entry.backing.object, offset: entry.backing.offset,
                isCopied: entry.copied, wiredCount: entry.wiredCount, residentPages: 0, dirtyPages: 0, swappedPages: 0)
            guard let id = entry.backing.object, let object = memory.mapped[id] else { return info }
            let pages = entry.pages.intersection(object.livePages)
            let residence = try VMError.translating { () throws(StoreError) in try object.residence(of: pages) }
            info.residentPages = residence.resident
            info.swappedPages = residence.swapped
            info.dirtyPages = try VMError.translating { () throws(StoreError) in try object.dirtyPages(in: pages) }
            info.isShared = object.handles > 0 || object.shows(entry.pages, outside: entry.range)
            return info
        }
    }

    /// What is known of the page that contains `address` (vm_map_page_query).
    ///
    /// INVALID_ADDRESS where nothing is mapped there; TERMINATED.
    public func queryPage(_ address: UInt64) throws(VMError) -> PageDisposition {
        try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard let entry = map.lookup(address) else {
                throw VMError(.invalidAddress, "nothing is mapped at 0x\(String(address, radix: 16))")
            }
            var disposition: PageDisposition = entry.copied ? .copied : []
            guard let id = entry.backing.object, let object = memory.mapped[id] else { return disposition }
            let page = PageRange(start: entry.pages.start + Int(Page.trunc(address) - entry.start) >> Page.shift, count: 1)
            guard !page.intersection(object.livePages).isEmpty else { return disposition }
            // A page that was not stored to since the commit is as paged out as the commit's bytes are.
            let residence = try VMError.translating { () throws(StoreError) in try object.residence(of: page, unclear: false) }
            if residence.resident > 0 { disposition.insert(.present) }
            let isDirty = try VMError.translating { () throws(StoreError) in try object.dirtyPages(in: page) } > 0
            if isDirty { disposition.insert(.dirty) }
            if residence.resident == 0 {
                // The view itself: the pager joins short runs, and pages that were never written with them.
                let isStored = object.storePager?.view?.extents(in: page).contains { $0.extent != .zeros && $0.extent != .beyondEnd } ?? false
                if residence.swapped > 0 || isStored { disposition.insert(.pagedOut) }
            }
            return disposition
        }
    }
}

extension MapEntry {
    /// The object's pages that the entry shows.
    var pages: PageRange { PageRange(start: Int(backing.offset >> UInt64(Page.shift)), count: Int(length >> UInt64(Page.shift))) }
}

extension MappedObject {
    /// How many of the pages are in memory, and how many the host has swapped out.
    ///
    /// - Parameter unclear: Whether those count of which the host can't say whether they are swapped out or nowhere.
    func residence(of pages: PageRange, unclear: Bool = true) throws(StoreError) -> (resident: Int, swapped: Int) {
        guard !pages.isEmpty else { return (0, 0) }
        switch home {
        case .exclusive(let mapping):
            let shown = pages.intersection(mapping.pages)
            return shown.isEmpty ? (0, 0) : try mapping.residency(in: shown, unclear: unclear)
        case .shared(let shared): return try shared.residency(in: pages)
        }
    }

    /// How many of the pages were stored to since the last commit, or may have been.
    func dirtyPages(in pages: PageRange) throws(StoreError) -> Int {
        joined(try peek() + pending).reduce(0) { $0 + $1.intersection(pages).count }
    }

    /// Whether other addresses than those of `range`, which shows `pages`, show one of them too.
    func shows(_ pages: PageRange, outside range: Range<UInt64>) -> Bool {
        // What a mapping that overlaps the range shows beside it are other pages.
        let shown = PageRange(start: pages.start + pageOfOffset0, count: pages.count)
        return mappings.contains { !$0.range.overlaps(range) && !$0.pages.intersection(shown).isEmpty }
    }
}
