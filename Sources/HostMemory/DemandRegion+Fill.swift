internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

extension DemandRegion {
    /// Places the absent pages of `window`, of which `page` is awaited; with a pace, only those that are worth it. Returns what
    /// prevented it.
    func fill(
        _ window: PageRange, for page: Int, _ scratch: borrowing FillBuffer, _ scanner: borrowing PagemapScanner,
        _ pace: ReadPace? = nil
    ) -> StoreError? {
        do throws(StoreError) {
            while let generation = state.withLock({ $0.isClosed ? nil : $0.generation }) {
                let stretches = try fetch(window, for: page, scratch, scanner, pace)
                if try place(stretches, window, generation, scratch) { return nil }
            }
            return nil
        } catch {
            return error
        }
    }

    /// Brings bytes into `scratch`, whose first page is the window's; returns which pages it brought.
    private func fetch(
        _ window: PageRange, for page: Int, _ scratch: borrowing FillBuffer, _ scanner: borrowing PagemapScanner,
        _ pace: ReadPace?
    ) throws(StoreError) -> [PageRange] {
        var wanted: [PageRange] = []
        var awaitsZeros = false
        for run in try provider.checkedRuns(in: window) {
            switch run.kind {
            case .file, .fill: wanted.appendRun(start: run.pages.start, end: run.pages.end)
            // Zero pages around the awaited one stay absent: filled, they would take memory.
            case .zero, .beyondEnd: awaitsZeros = awaitsZeros || run.pages.contains(page)
            }
        }
        var stretches = try absent(wanted, scanner)
        func fill() throws(StoreError) {
            for stretch in stretches { try provider.fill(stretch, into: scratch.pointer(toPage: stretch.start - window.start)) }
        }
        if let pace {
            stretches = worthwhile(stretches, window, for: page, pace)
            try pace.watching(fill)
            if let brought = stretches.first(where: { $0.contains(page) }) {
                pace.filled(address(of: page), upTo: address(of: brought.end))
            }
        } else {
            try fill()
        }
        if awaitsZeros {
            memset(scratch.pointer(toPage: page - window.start), 0, Page.size)
            stretches.append(PageRange(start: page, count: 1))
        }
        return stretches
    }

    /// Leaves out pages that are present, where the kernel can tell: their bytes would be fetched for nothing.
    private func absent(
        _ stretches: [PageRange], _ scanner: borrowing PagemapScanner
    ) throws(StoreError) -> [PageRange] {
        var result: [PageRange] = []
        if let file {
            for stretch in stretches {
                try SystemCall.forEachAbsentRun(file.descriptor, firstPage: file.firstPage, stretch) { result.append($0) }
            }
            return result
        }
        guard HostCapabilities.current.asyncWriteProtect else { return stretches }
        for stretch in stretches {
            var next = stretch.start
            try scanner.scan(address(of: stretch.start)..<address(of: stretch.end), .present) { present in
                result.appendRun(start: next, end: self.page(at: present.lowerBound))
                next = self.page(at: present.upperBound)
            }
            result.appendRun(start: next, end: stretch.end)
        }
        return result
    }

    func page(at address: UInt64) -> Int { pages.start + Int((address - base) >> UInt64(Page.shift)) }

    /// Returns false where the bytes have become stale meanwhile.
    private func place(
        _ stretches: [PageRange], _ window: PageRange, _ generation: Int, _ scratch: borrowing FillBuffer
    ) throws(StoreError) -> Bool {
        let source = scratch.pointer
        return try state.withLock { state throws(StoreError) in
            if state.isClosed { return true }
            guard state.generation == generation else { return false }
            for stretch in stretches {
                // Private pages that have been mapped from elsewhere meanwhile have their bytes.
                for part in file == nil ? state.plan.demandParts(of: stretch) : [stretch] {
                    try SystemCall.place(
                        source + (part.start - window.start) << Page.shift, at: address(of: part.start), pages: part.count,
                        armed: arms)
                    if file == nil { state.placed[table(of: part.start), default: 0] += part.count }
                }
            }
            return true
        }
    }

    /// Makes an access to a page that can't be filled raise SIGBUS, and keeps the error.
    func poison(_ page: Int, _ error: StoreError) {
        state.withLock { state in
            guard !state.isClosed else { return }
            // A private page that has been mapped from elsewhere meanwhile has its bytes.
            guard file != nil || state.plan.area(holding: page)?.backing == .demand else { return }
            state.lastError = error
            let place = address(of: page)
            // The kernel refuses to poison over a write-protection marker.
            if arms { _ = hm_uffd_write_protect(hm_uffd(), place, UInt64(Page.size), 0) }
            let result = Userfault.shared.has(HM_FEATURE_POISON)
                ? hm_uffd_poison(hm_uffd(), place, UInt64(Page.size)) : -ENOSYS
            // Present after all: somebody else placed it.
            guard result != -EEXIST else { return }
            if result != 0 {
                try? BeyondEnd.map(place, Page.size)
                if arms { try? SystemCall.register(place, Page.size, mode: HM_REGISTER_WP) }
            }
            state.poisoned.insert(page)
        }
    }

    /// Makes poisoned pages of the range absent again.
    func heal(_ range: PageRange, protection: (Int) -> Int32) throws(StoreError) {
        let sick = state.withLock { state in state.poisoned.filter(range.contains).sorted() }
        for page in sick {
            let place = address(of: page)
            let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
            // Inaccessible until it is registered: nobody may read zeros meanwhile.
            try SystemCall.map(place, Page.size, protection: PROT_NONE, flags: flags)
            try SystemCall.advise(place, Page.size, Int32(MADV_DONTFORK))
            try? SystemCall.advise(place, Page.size, Int32(MADV_NOHUGEPAGE))
            try SystemCall.register(place, Page.size, mode: HM_REGISTER_MISSING | (arms ? HM_REGISTER_WP : 0))
            try SystemCall.protect(place, Page.size, protection(page))
            _ = state.withLock { $0.poisoned.remove(page) }
        }
    }
}
