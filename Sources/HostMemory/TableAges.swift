internal import VMTypes

/// When each of the kernel's page tables of a mapping was last stored to, and how much private memory it may have.
///
/// Pure. A table is 512 pages at a boundary of addresses; the mapping's first and last may have fewer. What is kept follows the
/// tables that were ever stored to, not the mapping's size.
struct TableAges {
    static let pagesInTable = 512
    private static let tablesInGroup = 512

    private struct Table {
        /// The round of the last look that found a store.
        var lastStored: UInt32 = 0
        /// Private pages at most.
        var held: UInt16 = 0
    }

    let pages: PageRange
    /// Pages of the first table that lie before the mapping.
    private let lead: Int
    /// Counts the looks for stores.
    private(set) var round: UInt32 = 0
    /// Neighbours; without an element where none of them was ever stored to.
    private var groups: [[Table]]
    private(set) var heldPages = 0
    let count: Int

    init(pages: PageRange, firstPageNumber: UInt64) {
        self.pages = pages
        lead = Int(firstPageNumber & UInt64(Self.pagesInTable - 1))
        count = pages.count == 0 ? 0 : (lead + pages.count + Self.pagesInTable - 1) / Self.pagesInTable
        groups = Array(repeating: [], count: (count + Self.tablesInGroup - 1) / Self.tablesInGroup)
    }

    func table(of page: Int) -> Int { (page - pages.start + lead) / Self.pagesInTable }

    func pages(of table: Int) -> PageRange {
        let start = pages.start + table * Self.pagesInTable - lead
        return PageRange(start: start, count: Self.pagesInTable).intersection(pages)
    }

    private func entry(_ table: Int) -> Table {
        let group = groups[table / Self.tablesInGroup]
        return group.isEmpty ? Table() : group[table % Self.tablesInGroup]
    }

    func held(_ table: Int) -> Int { Int(entry(table).held) }

    /// The round in which a table was last found stored to; 0 for never.
    func lastStored(_ table: Int) -> UInt32 { entry(table).lastStored }

    /// Looks since a table was last stored to.
    func age(_ table: Int) -> Int { Int(round &- entry(table).lastStored) }

    /// The tables that may have private pages.
    var holding: [Int] {
        var found: [Int] = []
        for (index, group) in groups.enumerated() {
            for (place, table) in group.enumerated() where table.held > 0 { found.append(index * Self.tablesInGroup + place) }
        }
        return found
    }

    /// A look for stores has found these.
    mutating func looked(_ runs: ArraySlice<PageRange>) {
        round &+= 1
        stored(runs)
    }

    /// Pages were stored to, or brought to private memory.
    mutating func stored(_ runs: ArraySlice<PageRange>) {
        for run in runs {
            let run = run.intersection(pages)
            var page = run.start
            while page < run.end {
                let table = table(of: page)
                let end = min(run.end, self.pages(of: table).end)
                let group = table / Self.tablesInGroup, place = table % Self.tablesInGroup
                if groups[group].isEmpty { groups[group] = Array(repeating: Table(), count: Self.tablesInGroup) }
                groups[group][place].lastStored = round
                let held = Int(groups[group][place].held), new = min(Self.pagesInTable, held + end - page)
                groups[group][place].held = UInt16(new)
                heldPages += new - held
                page = end
            }
        }
    }

    /// So many pages of a table are private.
    mutating func counted(_ table: Int, _ held: Int) {
        let group = table / Self.tablesInGroup, place = table % Self.tablesInGroup
        if groups[group].isEmpty {
            guard held > 0 else { return }
            groups[group] = Array(repeating: Table(), count: Self.tablesInGroup)
        }
        heldPages += held - Int(groups[group][place].held)
        groups[group][place].held = UInt16(held)
    }
}
