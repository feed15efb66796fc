internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

/// The parts of a trade. Callers hold the lock.
extension ExclusiveMapping {
    /// Copies what is private of a table to the shadow file; nil where none of its pages is in memory.
    func copy(_ table: Int, _ range: PageRange, _ home: ShadowHome) throws(StoreError) -> TableCopy? {
        let areas = plan.areas(in: range)
        var (found, unclear, hasPages) = try privateRuns(range)
        var hasLoaded = false
        for area in areas where area.backing != .demand && area.backing != .plain {
            for run in unclear.overlapping(area.pages) {
                // A page that can't be loaded counts as private, and then can't be copied: an error.
                try? Population.load(address: address(of: run.start), byteCount: run.count << Page.shift)
                hasLoaded = true
            }
        }
        if hasLoaded { (found, unclear, hasPages) = try privateRuns(range) }
        guard hasPages else { return nil }
        let lastStored = ages.lastStored(table)
        guard !found.isEmpty else { return TableCopy(lastStored: lastStored, staysBeneath: true, copiedPages: 0) }
        let shadow: ShadowFile
        if let known = self.shadow {
            shadow = known
        } else {
            shadow = try ShadowFile(home, pages: pages, generation: shadowsMade)
            self.shadow = shadow
            shadowsMade += 1
        }
        try shadow.checkRoom(for: range.count)
        var copied = 0
        func write(_ run: PageRange) throws(StoreError) {
            try shadow.write(SystemCall.pointer(address(of: run.start))!, run)
            copied += run.count
        }
        for area in areas {
            switch area.backing {
            case .shadow(shadow.generation):
                // What is not private is there.
                for run in found.overlapping(area.pages) { try write(run) }
            case .plain:
                // Absent pages are zeros: an earlier copy that came to nothing must not show in their place.
                try shadow.clear(area.pages)
                var runs: [PageRange] = []
                for run in found.overlapping(area.pages) {
                    for page in run.start..<run.end where !isZero(page) { runs.appendRun(start: page, end: page + 1) }
                }
                for run in runs { try write(run) }
            case .demand:
                try copyDemand(area.pages, shadow)
                copied += area.pages.count
            case .file, .shadow: try write(area.pages)
            }
        }
        return TableCopy(lastStored: lastStored, staysBeneath: false, copiedPages: copied)
    }

    /// Copies pages of which some are absent: those come from the provider, and stay absent.
    private func copyDemand(_ range: PageRange, _ shadow: ShadowFile) throws(StoreError) {
        let (present, unclear, _) = try privateRuns(range)
        let buffer = FillBuffer()
        if let region, !unclear.isEmpty {
            // Absent ones are filled here: where that fails on a touch, they are poisoned.
            let scanner = PagemapScanner(capacity: FillBuffer.pages)
            for run in unclear {
                var next = run.start
                while next < run.end {
                    let window = PageRange(start: next, count: min(FillBuffer.pages, run.end - next))
                    if let error = region.fill(window, for: -1, buffer, scanner) { throw error }
                    next = window.end
                }
            }
        }
        for run in present { try shadow.write(SystemCall.pointer(address(of: run.start))!, run) }
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
    func exchange(
        _ copy: TableCopy, _ table: Int, _ range: PageRange, _ tracker: any DirtyTracker
    ) throws(StoreError) -> Bool {
        // An exchange can cut a mapping of the kernel in three.
        guard MappingBudget.available > 2 else {
            throw StoreError(
                .full, "the host's limit of mappings leaves none to give back memory with", advice: "Raise vm.max_map_count")
        }
        var isShown = true
        let isDone = try tracker.exchange(range) { (protection) throws(StoreError) in
            for area in self.plan.areas(in: range) where copy.staysBeneath {
                switch area.backing {
                case .file(let offset):
                    isShown = try self.show(area.pages, self.provider.fileDescriptor, offset, protection) && isShown
                case .shadow(let generation) where generation == self.shadow?.generation:
                    isShown = try self.show(
                        area.pages, self.shadow!.descriptor, self.shadow!.offset(of: area.pages.start), protection) && isShown
                case .plain, .demand, .shadow: break
                }
            }
            guard !copy.staysBeneath, let shadow = self.shadow else { return }
            isShown = try self.show(
                range, shadow.descriptor, shadow.offset(of: range.start), protection, as: .shadow(shadow.generation))
            if self.region != nil { SystemCall.wake(self.address(of: range.start), range.count << Page.shift) }
        }
        guard isDone, isShown else { return false }
        released(table, range)
        return true
    }

    /// Maps pages of a file privately over what is there, and says so in the plan, where that has another backing yet; false
    /// where that failed and they are anonymous memory now, with the file's bytes.
    private func show(
        _ range: PageRange, _ file: Int32, _ offset: Int, _ protection: Int32, as backing: MappingPlan.Backing? = nil
    ) throws(StoreError) -> Bool {
        var plan = self.plan
        if let backing { plan.replace(range, with: backing) }
        var isShown = true
        if let region {
            try region.state.withLock { state throws(StoreError) in
                // What was fetched for these pages and is not yet placed is placed no more.
                state.generation += 1
                isShown = try self.map(range, file, offset, protection)
                if !isShown { plan.replace(range, with: .plain) }
                state.plan = plan
            }
        } else {
            isShown = try map(range, file, offset, protection)
            if !isShown { plan.replace(range, with: .plain) }
        }
        MappingBudget.use(plan.areas.count - self.plan.areas.count)
        self.plan = plan
        if !isShown { ages.stored([range]) }
        // From here on nothing throws: memory is what the plan says.
        unprepared.insertRun(range)
        try? prepareLeft()
        return isShown
    }

    /// Maps pages of a file; false where the kernel could not, and had taken away what was there: then it is a copy.
    private func map(_ range: PageRange, _ file: Int32, _ offset: Int, _ protection: Int32) throws(StoreError) -> Bool {
        let start = address(of: range.start), length = range.count << Page.shift
        do throws(StoreError) {
            try SystemCall.map(
                start, length, protection: protection, flags: MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, file: file,
                offset: offset)
            return true
        } catch {
            guard msync(SystemCall.pointer(start), length, MS_ASYNC) != 0, errno == ENOMEM else { throw error }
            unprepared.insertRun(range)
            try SystemCall.map(
                start, length, protection: PROT_READ | PROT_WRITE,
                flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED)
            do throws(StoreError) {
                var done = 0
                while done < length {
                    done += try SystemCall.check("pread") {
                        let count = pread(file, SystemCall.pointer(start)! + done, length - done, off_t(offset + done))
                        return count < 0 ? (errno == EINTR ? 0 : -Int(errno)) : count == 0 ? -Int(EIO) : count
                    }
                }
                try SystemCall.protect(start, length, protection)
            } catch {
                // Rather no bytes than zeros, which a commit could take.
                try? BeyondEnd.map(start, length)
                throw error
            }
            return false
        }
    }

    /// Makes what was mapped ready for looks for stores. Until that has succeeded, looks fail: they would miss stores.
    func prepareLeft() throws(StoreError) {
        while let range = unprepared.first {
            let start = address(of: range.start), length = range.count << Page.shift
            try SystemCall.advise(start, length, Int32(MADV_DONTFORK))
            if tracking == .asyncWriteProtect {
                try? SystemCall.advise(start, length, Int32(MADV_NOHUGEPAGE))
                try SystemCall.register(start, length, mode: HM_REGISTER_WP)
            }
            unprepared.removeFirst()
        }
    }

    private func isZero(_ page: Int) -> Bool {
        let bytes = UnsafeRawPointer(pointer(toPage: page))
        return bytes.load(as: UInt64.self) == 0 && memcmp(bytes, bytes + 8, Page.size - 8) == 0
    }

    /// The runs of pages that are this process's own, in memory or swapped out; those among them that may as well be absent,
    /// and only armed, which the page map shows as swapped out too; and whether any page at all is in memory.
    func privateRuns(_ range: PageRange) throws(StoreError) -> (runs: [PageRange], unclear: [PageRange], hasPages: Bool) {
        var runs: [PageRange] = []
        var unclear: [PageRange] = []
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
                    if entries[index] >> 62 == 1 { unclear.appendRun(start: next + index, end: next + index + 1) }
                }
                next += wanted
            }
        }
        if tracking == .asyncWriteProtect, !unclear.isEmpty {
            let absent = absentRuns(unclear)
            for run in absent {
                runs.removeRun(run)
                unclear.removeRun(run)
            }
        }
        return (runs, unclear, hasPages)
    }

    /// The pages among those shown as swapped out that are absent for sure.
    ///
    /// Without swap space such a page is absent and armed, or is on its way to another place in memory. The latter is in memory
    /// for `mincore`; of the former it says whether the file's page beneath is: what is in neither is no private page.
    private func absentRuns(_ unclear: [PageRange]) -> [PageRange] {
        var total: UInt64 = 0, unused: UInt64 = 0
        guard hm_swap_space(&total, &unused) == 0, total == 0 else { return [] }
        var absent: [PageRange] = []
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: TableAges.pagesInTable) { isResident in
            for run in unclear {
                var next = run.start
                while next < run.end {
                    let count = min(isResident.count, run.end - next)
                    let start = SystemCall.pointer(address(of: next))!
                    guard mincore(start, count << Page.shift, isResident.baseAddress!) == 0 else { return }
                    for index in 0..<count where isResident[index] & 1 == 0 {
                        absent.appendRun(start: next + index, end: next + index + 1)
                    }
                    next += count
                }
            }
        }
        return absent
    }
}
