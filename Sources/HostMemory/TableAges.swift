internal import VMTypes

/// When each of the kernel's page tables of a mapping was last stored to, and how much private memory it may have.
///
/// Pure. A table is 512 pages at a boundary of addresses; the mapping's first and last may have fewer.
struct TableAges {
    static let pagesInTable = 512

    let pages: PageRange
    /// Pages of the first table that lie before the mapping.
    private let lead: Int
    /// Counts the looks for stores.
    private(set) var round: UInt32 = 0
    /// The round of the last look that found a store.
    private var lastStored: [UInt32]
    /// Private pages at most.
    private var held: [UInt16]
    private(set) var heldPages = 0
    /// The round in which a table was traded; 0 where it was not, or was stored to since.
    private var traded: [UInt32]
    /// Rounds without a store after which trading a table pays. It doubles where many traded tables are soon stored to
    /// again, and comes down where few are.
    private(set) var patience = Self.leastPatience
    private var trades = 0
    private var regrets = 0
    /// What a trade costs, in looks at a table.
    static let leastPatience = 32
    static let mostPatience = 1 << 20

    init(pages: PageRange, firstPageNumber: UInt64) {
        self.pages = pages
        lead = Int(firstPageNumber & UInt64(Self.pagesInTable - 1))
        let count = pages.count == 0 ? 0 : (lead + pages.count + Self.pagesInTable - 1) / Self.pagesInTable
        lastStored = Array(repeating: 0, count: count)
        held = Array(repeating: 0, count: count)
        traded = Array(repeating: 0, count: count)
    }

    var count: Int { held.count }

    func table(of page: Int) -> Int { (page - pages.start + lead) / Self.pagesInTable }

    func pages(of table: Int) -> PageRange {
        let start = pages.start + table * Self.pagesInTable - lead
        return PageRange(start: start, count: Self.pagesInTable).intersection(pages)
    }

    func held(_ table: Int) -> Int { Int(held[table]) }

    /// The round in which a table was last found stored to; 0 for never.
    func lastStored(_ table: Int) -> UInt32 { lastStored[table] }

    /// Looks since a table was last stored to, or traded.
    func age(_ table: Int) -> Int { Int(round &- max(lastStored[table], traded[table])) }

    /// A look for stores has found these.
    mutating func looked(_ runs: ArraySlice<PageRange>) {
        round += 1
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
                lastStored[table] = round
                if traded[table] != 0 {
                    if Int(round &- traded[table]) < patience { regrets += 1 }
                    traded[table] = 0
                }
                let count = min(Self.pagesInTable, Int(held[table]) + end - page)
                heldPages += count - Int(held[table])
                held[table] = UInt16(count)
                page = end
            }
        }
    }

    /// A table has no private page any more.
    mutating func released(_ table: Int) {
        heldPages -= Int(held[table])
        held[table] = 0
        traded[table] = round
        trades += 1
        guard trades == 32 else { return }
        if regrets * 4 > trades {
            patience = min(patience * 2, Self.mostPatience)
        } else if regrets * 16 < trades {
            patience = max(patience / 2, Self.leastPatience)
        }
        trades = 0
        regrets = 0
    }
}
