internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

/// The parts of a trade. Callers hold the lock.
extension ExclusiveMapping {
    /// Finds out what is to be copied; nil where none of the pages is in memory.
    func beginCopy(_ table: Int, _ range: PageRange, _ home: ShadowHome) throws(StoreError) -> TableCopy? {
        let (found, hasPages) = try privateRuns(range)
        guard hasPages else { return nil }
        if shadow?.home != home, !found.isEmpty {
            let made = try ShadowFile(home, pages: pages, generation: shadowsMade)
            retireShadow()
            shadow = made
            shadowsMade += 1
        }
        var left: [PageRange] = []
        for area in found.isEmpty ? [] : plan.areas(in: range) {
            switch area.backing {
            case .shadow(shadow?.generation):
                // What is not private is there.
                for run in found.overlapping(area.pages) { left.appendRun(start: run.start, end: run.end) }
            case .plain:
                // Absent pages are zeros: an earlier copy that came to nothing must not show in their place.
                try shadow?.clear(area.pages)
                for run in found.overlapping(area.pages) { left.appendRun(start: run.start, end: run.end) }
            case .demand, .file, .shadow:
                left.appendRun(start: area.pages.start, end: area.pages.end)
            }
        }
        return TableCopy(
            table: table, home: home, lastStored: ages.lastStored(table), staysBeneath: found.isEmpty, left: left)
    }

    /// Copies `most` pages at most; false where nothing is left to copy.
    func go(on copy: inout TableCopy, _ most: Int) throws(StoreError) -> Bool {
        guard let shadow, let run = copy.left.first else { return false }
        let chunk = PageRange(start: run.start, count: min(run.count, most))
        copy.left[0] = PageRange(start: chunk.end, count: run.end - chunk.end)
        if copy.left[0].count == 0 { copy.left.removeFirst() }
        for area in plan.areas(in: chunk) {
            if area.backing == .demand {
                try copyDemand(area.pages, shadow)
            } else {
                try shadow.write(SystemCall.pointer(address(of: area.pages.start))!, area.pages)
            }
        }
        copy.isUnsettled = copy.home != .memory
        return true
    }

    /// Copies pages of which some are absent: those come from the provider, and stay absent.
    private func copyDemand(_ range: PageRange, _ shadow: ShadowFile) throws(StoreError) {
        let present = try privateRuns(range).runs
        for run in present { try shadow.write(SystemCall.pointer(address(of: run.start))!, run) }
        let buffer = FillBuffer()
        for absent in present.missing(in: range) {
            var next = absent.start
            while next < absent.end {
                let part = PageRange(start: next, count: min(FillBuffer.pages, absent.end - next))
                try provider.fill(part, into: buffer.pointer)
                try shadow.write(buffer.pointer, part)
                next = part.end
            }
        }
    }

    /// Maps the copy, or what lies beneath, in the place of private memory; false where a page has been stored to.
    func exchange(_ copy: TableCopy, _ range: PageRange, _ tracker: any DirtyTracker) throws(StoreError) -> Bool {
        // An exchange can cut a mapping of the kernel in three.
        guard MappingBudget.available > 2 else {
            throw StoreError(
                .full, "the host's limit of mappings leaves none to give back memory with", advice: "Raise vm.max_map_count")
        }
        let isDone = try tracker.exchange(range) { (protection) throws(StoreError) in
            for area in self.plan.areas(in: range) where copy.staysBeneath {
                switch area.backing {
                case .file(let offset): try self.show(area.pages, self.provider.fileDescriptor, offset, protection)
                case .shadow(let generation) where generation == self.shadow?.generation:
                    try self.show(area.pages, self.shadow!.descriptor, self.shadow!.offset(of: area.pages.start), protection)
                case .plain, .demand, .shadow: break
                }
            }
            guard !copy.staysBeneath, let shadow = self.shadow else { return }
            var plan = self.plan
            plan.replace(range, with: .shadow(shadow.generation))
            if let region = self.region {
                try region.state.withLock { state throws(StoreError) in
                    // What was fetched for these pages and is not yet placed is placed no more.
                    state.generation += 1
                    try self.show(range, shadow.descriptor, shadow.offset(of: range.start), protection)
                    state.plan = plan
                    state.placed[region.table(of: range.start)] = nil
                }
                SystemCall.wake(self.address(of: range.start), range.count << Page.shift)
            } else {
                try self.show(range, shadow.descriptor, shadow.offset(of: range.start), protection)
            }
            MappingBudget.use(plan.areas.count - self.plan.areas.count)
            self.plan = plan
        }
        if isDone { ages.released(copy.table) }
        return isDone
    }

    /// Maps pages of a file privately over what is there.
    private func show(_ range: PageRange, _ file: Int32, _ offset: Int, _ protection: Int32) throws(StoreError) {
        let start = address(of: range.start), length = range.count << Page.shift
        try SystemCall.map(
            start, length, protection: protection, flags: MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, file: file, offset: offset)
        try SystemCall.advise(start, length, Int32(MADV_DONTFORK))
        guard tracking == .asyncWriteProtect else { return }
        try? SystemCall.advise(start, length, Int32(MADV_NOHUGEPAGE))
        try SystemCall.register(start, length, mode: HM_REGISTER_WP)
    }

    /// The runs of pages that are this process's own, in memory or swapped out; and whether any page at all is in memory.
    private func privateRuns(_ range: PageRange) throws(StoreError) -> (runs: [PageRange], hasPages: Bool) {
        var runs: [PageRange] = []
        var hasPages = false
        try withUnsafeTemporaryAllocation(of: UInt64.self, capacity: TableAges.pagesInTable) { entries throws(StoreError) in
            var next = range.start
            while next < range.end {
                let wanted = min(entries.count, range.end - next)
                let position = off_t(address(of: next) >> UInt64(Page.shift)) * 8
                let got = try SystemCall.check("reading the page map") {
                    let count = pread(hm_pagemap(), entries.baseAddress, wanted * 8, position)
                    return count < 0 ? -Int(errno) : count
                }
                guard got == wanted * 8 else { throw SystemCall.error("reading the page map", errno: EIO) }
                for index in 0..<wanted {
                    // Bit 63: present; 62: swapped out; 61: of a file.
                    let isThere = entries[index] >> 62 != 0
                    hasPages = hasPages || isThere
                    if isThere, entries[index] >> 61 & 1 == 0 { runs.appendRun(start: next + index, end: next + index + 1) }
                }
                next += wanted
            }
        }
        return (runs, hasPages)
    }
}
