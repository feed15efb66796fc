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
    /// Pages that one page table of the kernel maps.
    public static let pagesInTable = TableAges.pagesInTable

    /// What a call has done.
    public enum TradeStep: Sendable, Equatable {
        /// Copied some pages; call again.
        case copied
        /// Copied all; call again when `settleCopies` has returned.
        case unsettled
        /// The table's pages are no longer private.
        case traded
        /// Left as it is: stored to since the last look, wired, or of several protections.
        case refused
    }

    /// Bytes of private memory at most; what memory was stored to, and what was filled in, since it was mapped or traded.
    public var privateBytes: Int {
        let pages = try? whileMapped { () throws(StoreError) in
            ages.heldPages + placedPages.values.reduce(0, +)
        }
        return (pages ?? 0) << Page.shift
    }

    /// Tables that may be in memory and were not stored to for `rounds` looks for stores, or for as many as make trading them
    /// pay; those stored to longest ago, `most` of them, first.
    public func coldTables(rounds: Int? = nil, most: Int = .max) -> [ColdTable] {
        let found = try? whileMapped { () throws(StoreError) in
            guard let tracker else { return [ColdTable]() }
            let least = rounds ?? ages.patience
            let placed = placedPages
            var found: [ColdTable] = []
            for table in 0..<ages.count where ages.age(table) >= least {
                let pages = ages.pages(of: table)
                let held = ages.held(table) + (placed[address(of: pages.start) >> 21] ?? 0)
                guard held > 0 || tracker.mayHavePages(pages), failed[table] != ages.lastStored(table) else { continue }
                found.append(ColdTable(number: table, age: ages.age(table), heldPages: held))
            }
            found.sort { $0.age > $1.age }
            return found.count > most ? Array(found[..<most]) : found
        }
        return found ?? []
    }

    /// Pages that were filled in on demand, by the kernel's page table.
    private var placedPages: [UInt64: Int] { region?.state.withLock { $0.placed } ?? [:] }

    /// Goes on taking a table's pages out of private memory: copies `pages` of them at most, or exchanges them.
    ///
    /// - Throws: `.full` where the disk or memory is, `.io`, or the provider's errors; memory is then as it was. But where it was
    ///   `.full`, the table is no longer among the cold ones until it is next stored to.
    public func trade(_ table: Int, to home: ShadowHome, pages most: Int) throws(StoreError) -> TradeStep {
        try whileMapped { () throws(StoreError) in
            guard table >= 0, table < ages.count, let tracker else { return .refused }
            try prepareLeft()
            do throws(StoreError) { return try step(table, tracker, home, most) } catch {
                if error.code != .full { failed[table] = ages.lastStored(table) }
                throw error
            }
        }
    }

    private func step(
        _ table: Int, _ tracker: any DirtyTracker, _ home: ShadowHome, _ most: Int
    ) throws(StoreError) -> TradeStep {
        let range = ages.pages(of: table)
        guard isTradable(range), try tracker.isClean(range) else {
            copies[table] = nil
            return .refused
        }
        var begun = copies.removeValue(forKey: table)
        if begun?.lastStored != ages.lastStored(table) || begun?.home != home {
            begun = try beginCopy(table, range, home)
        }
        guard var copy = begun else {
            // None of it is in memory.
            released(table, range)
            return .traded
        }
        var left = most
        while left > 0, let run = copy.left.first, try go(on: &copy, left) { left -= run.count }
        guard copy.left.isEmpty, !copy.isUnsettled else {
            defer { copies[table] = copy }
            return copy.left.isEmpty ? .unsettled : .copied
        }
        return try exchange(copy, range, tracker) ? .traded : .refused
    }

    /// Nothing of a table is private any more.
    func released(_ table: Int, _ range: PageRange) {
        ages.released(table)
        if let region { region.state.withLock { $0.placed[region.table(of: range.start)] = nil } }
    }

    /// Waits until the disk has all that was copied. Where it fails, all copies begin again, in another file.
    public func settleCopies() throws(StoreError) {
        try whileMapped { () throws(StoreError) in
            guard let shadow, copies.values.contains(where: \.isUnsettled) else { return }
            do throws(StoreError) { try shadow.settle(pages) } catch {
                // The kernel tells of lost pages once: the next try would succeed without them.
                retireShadow()
                throw error
            }
            for table in copies.keys where copies[table]!.left.isEmpty { copies[table]!.isUnsettled = false }
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
