internal import Glibc
internal import Synchronization
public import VMTypes

/// Taking pages out of private memory that nobody stores to.
///
/// The unit is what one of the kernel's page tables maps: 512 pages. What is private of them is written to the mapping's
/// shadow file, and that is mapped privately in their place by one system call, so that loads of other threads see the same
/// bytes before and after. The page table goes with the private pages: looking for stores passes over the range until it
/// is touched again. Bytes are taken from memory and nowhere else, so that it does not matter whether they are committed.
///
/// Callers see to it that no other thread stores to the mapping during a call, unless stores are tracked by signals. A
/// system call, or a device, that still writes to pages which it was given earlier must be done too.
extension ExclusiveMapping {
    /// What a call has done.
    public enum TradeStep: Sendable, Equatable {
        /// Copied so many pages; call again when `settleCopies` has returned.
        case copied(pages: Int)
        /// The table's pages are no longer private.
        case traded
        /// Left as it is: stored to since the last look, wired, poisoned, or not all of one protection that allows loads.
        case refused
    }

    /// Bytes of private memory at most; what memory was stored to, and what was filled in, since it was last counted.
    public var privateBytes: Int {
        let pages = try? whileMapped { () throws(StoreError) in
            ages.heldPages + placedPages.values.reduce(0, +)
        }
        return (pages ?? 0) << Page.shift
    }

    /// Counts private pages, and returns the tables that have some, those stored to longest ago first; but not those that hold a
    /// page of `kept` (in order, apart from each other), nor those whose bytes could not be had when they were last tried.
    public func coldTables(without kept: [PageRange] = []) throws(StoreError) -> [ColdTable] {
        try whileMapped { () throws(StoreError) in
            guard tracker != nil else { return [ColdTable]() }
            var tables = Set(ages.holding)
            for number in placedPages.keys where (number + 1) << 21 > address {
                tables.insert(ages.table(of: pages.start + (Int(max(address, number << 21) - address) >> Page.shift)))
            }
            var found: [ColdTable] = []
            for table in tables {
                let range = ages.pages(of: table)
                forgetPlaced(range)
                let held = try privateRuns(range).runs.reduce(0) { $0 + $1.count }
                ages.counted(table, held)
                guard held > 0, failed[table] != ages.lastStored(table), kept.overlapping(range).isEmpty else { continue }
                found.append(ColdTable(number: table, age: ages.age(table), heldPages: held))
            }
            return found.sorted { $0.age > $1.age }
        }
    }

    /// Pages that were filled in on demand, by the kernel's page table.
    private var placedPages: [UInt64: Int] { region?.state.withLock { $0.placed } ?? [:] }

    private func forgetPlaced(_ range: PageRange) {
        if let region { region.state.withLock { $0.placed[region.table(of: range.start)] = nil } }
    }

    /// Copies a table's private pages to the shadow file; the next call, after `settleCopies`, shows that in their place.
    ///
    /// - Throws: `.full` where the disk or memory is, `.io`, or the provider's errors; memory is then as it was. But where it was
    ///   not `.full`, the table is no longer among the cold ones until it is next stored to.
    public func trade(_ table: Int, to home: ShadowHome) throws(StoreError) -> TradeStep {
        try whileMapped { () throws(StoreError) in
            guard table >= 0, table < ages.count, let tracker else { return .refused }
            try prepareLeft()
            do throws(StoreError) { return try step(table, tracker, home) } catch {
                if error.code != .full { failed[table] = ages.lastStored(table) }
                throw error
            }
        }
    }

    private func step(_ table: Int, _ tracker: any DirtyTracker, _ home: ShadowHome) throws(StoreError) -> TradeStep {
        let range = ages.pages(of: table)
        guard isTradable(range), try tracker.isClean(range) else {
            copies[table] = nil
            return .refused
        }
        if let copy = copies[table], copy.lastStored == ages.lastStored(table) {
            guard copy.isSettled else { return .copied(pages: copy.copiedPages) }
            copies[table] = nil
            return try exchange(copy, table, range, tracker) ? .traded : .refused
        }
        copies[table] = nil
        guard let copy = try copy(table, range, home) else {
            // None of it is in memory.
            released(table, range)
            return .traded
        }
        guard !copy.staysBeneath else { return try exchange(copy, table, range, tracker) ? .traded : .refused }
        copies[table] = copy
        return .copied(pages: copy.copiedPages)
    }

    /// Nothing of a table is private any more.
    func released(_ table: Int, _ range: PageRange) {
        ages.counted(table, 0)
        forgetPlaced(range)
    }

    /// Waits until the disk has all that was copied. Where it fails, all copies begin again, in another file.
    public func settleCopies() throws(StoreError) {
        try whileMapped { () throws(StoreError) in
            guard let shadow, copies.values.contains(where: { !$0.isSettled }) else { return }
            do throws(StoreError) { try shadow.settle(pages) } catch {
                // The kernel tells of lost pages once: the next try would succeed without them.
                retireShadow()
                throw error
            }
            for table in copies.keys { copies[table]!.isSettled = true }
        }
    }

    /// Keeps pages in memory, or lets them be traded again.
    public func keep(_ pages: PageRange, _ isWired: Bool) {
        try? whileMapped { () throws(StoreError) in
            if isWired { wired.insertRun(pages) } else { wired.removeRun(pages) }
        }
    }

    /// A file that others show may not change any more.
    func retireShadow() {
        shadow = nil
        copies = [:]
    }

    /// Whether all pages of a range have one protection, which allows loads, and none has to stay.
    private func isTradable(_ range: PageRange) -> Bool {
        guard range.count > 0, wired.overlapping(range).isEmpty else { return false }
        if let region, !region.state.withLock({ $0.poisoned.isDisjoint(with: range.start..<range.end) }) { return false }
        var isReadable = true, found = 0
        protections.forEachRun(in: range) { _, bits in
            found += 1
            isReadable = isReadable && bits & PROT_READ != 0
        }
        return found == 1 && isReadable
    }
}
