internal import Glibc
internal import VMTypes

/// The structure of an LMDB data file, checked without LMDB: LMDB trusts the pages it maps, so that a damaged file ends
/// the process (SIGSEGV, SIGBUS, an assertion) where it should have been an error.
///
/// Checked is what LMDB 0.9 relies on: the meta pages, every page of every tree, the extents of the large values, the
/// counts, and the free list. What the values hold is not. Trees with duplicate keys or other key orders, which this
/// store never makes, count as damage. Whatever the bytes are, the check ends and never reads past what it loaded.
///
/// No writer may commit while a file is checked: its pages would be reused under the check.
enum LMDBFile {
    /// Throws `.damaged`, saying which page and why, where LMDB could not safely open and walk the file.
    ///
    /// At most `limit` tree pages are visited (nil: all), the free list's first; the counts and the free list are compared
    /// where none was left out. A file that ends before its last page is walked in whole, whatever the limit: only then
    /// is it known that nothing in use is missing.
    ///
    /// Without `valueHeaders`, of the values that lie outside the trees only their extents are looked at, as the trees tell
    /// them: that is all that reading needs, and `LMDB.Transaction` looks at a value's header before LMDB frees it.
    static func check(_ file: File, limit: Int? = nil, valueHeaders: Bool = true) throws(StoreError) {
        let report = try inspect(file, limit: limit, maxProblems: 1, valueHeaders: valueHeaders)
        guard let problem = report.problems.first else { return }
        throw StoreError(
            .damaged, "the page store is damaged: \(problem)", advice: "Run `varve verify`, then `varve repair`",
            path: file.path)
    }

    /// Every problem found (up to a thousand), and what the file holds; throws where it cannot be read.
    ///
    /// A page with a problem is not followed: what only it leads to is counted as leaked.
    static func inspect(_ file: File, limit: Int? = nil) throws(StoreError) -> Report {
        try inspect(file, limit: limit, maxProblems: 1000, valueHeaders: true)
    }

    private static func inspect(_ file: File, limit: Int?, maxProblems: Int, valueHeaders: Bool) throws(StoreError) -> Report {
        let size = try file.size()
        let buffer = AlignedBuffer(capacity: 2 * Page.size)
        let count = try file.readUpTo(buffer[0..<2 * Page.size], at: 0)
        guard size >= 2 * Page.size, count == 2 * Page.size else {
            return Report(problems: ["the file has \(size) bytes, less than its two meta pages"])
        }
        let meta: Meta
        switch Meta.current(UnsafeRawBufferPointer(buffer[0..<2 * Page.size])) {
        case .failure(let problem): return Report(problems: [problem.text])
        case .success(let found): meta = found
        }
        let whole = size / Page.size <= meta.lastPage
        let walk = try Walk(file, size: size, meta: meta, limit: whole ? nil : limit, maxProblems: maxProblems, valueHeaders: valueHeaders)
        try walk.run()
        return walk.report
    }

    /// What a check found.
    struct Report {
        /// One sentence each, naming the page; empty for a sound file.
        var problems: [String] = []
        /// Branch and leaf pages visited.
        var treePages = 0
        /// Pages of values that are kept outside the trees.
        var overflowPages = 0
        /// Pages on the free list.
        var freePages = 0
        /// Pages neither in use nor free; harmless, and 0 where the walk was limited.
        var leakedPages = 0
        /// The highest page number that was ever allocated; the file may end before it, where its last pages are free.
        var lastPage = 0
        /// The newest transaction.
        var transaction: UInt64 = 0
    }

    /// Why a part of the file cannot be used.
    struct Problem: Error {
        let text: String
    }
}

extension LMDBFile {
    /// The root of a tree and what it must hold: LMDB's `MDB_db`, 48 bytes.
    struct Tree {
        static let size = 48
        let pad: UInt32
        let flags: UInt16
        let depth: UInt16
        let branchPages: UInt64
        let leafPages: UInt64
        let overflowPages: UInt64
        let entries: UInt64
        let root: UInt64

        /// `bytes` must hold `size` bytes.
        init(_ bytes: UnsafeRawBufferPointer) {
            pad = bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)
            flags = bytes.loadUnaligned(fromByteOffset: 4, as: UInt16.self)
            depth = bytes.loadUnaligned(fromByteOffset: 6, as: UInt16.self)
            branchPages = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            leafPages = bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
            overflowPages = bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
            entries = bytes.loadUnaligned(fromByteOffset: 32, as: UInt64.self)
            root = bytes.loadUnaligned(fromByteOffset: 40, as: UInt64.self)
        }

        var isEmpty: Bool { root == .max }
    }

    /// The newest of the two meta pages.
    struct Meta {
        static let largestMap: UInt64 = 1 << 47
        let free: Tree
        let main: Tree
        let lastPage: Int
        let transaction: UInt64

        /// The meta page that LMDB would take; `bytes` are the file's first two pages.
        static func current(_ bytes: UnsafeRawBufferPointer) -> Result<Meta, Problem> {
            for number in 0..<2 {
                let page = UnsafeRawBufferPointer(rebasing: bytes[number * Page.size..<(number + 1) * Page.size])
                if let text = problem(page, number) { return .failure(Problem(text: "meta page \(number) \(text)")) }
            }
            let transactions = (0..<2).map { bytes.loadUnaligned(fromByteOffset: $0 * Page.size + 144, as: UInt64.self) }
            let newest = transactions[0] < transactions[1] ? 1 : 0
            let gap = transactions[newest] - transactions[1 - newest]
            // LMDB finds the meta page of a transaction by its lowest bit, and writes one after the other.
            guard transactions[newest] & 1 == newest, gap == 1 || transactions[newest] == 0 else {
                let text = "the meta pages hold transactions \(transactions[0]) and \(transactions[1]), which cannot be"
                return .failure(Problem(text: text))
            }
            let page = UnsafeRawBufferPointer(rebasing: bytes[newest * Page.size..<(newest + 1) * Page.size])
            let mapSize = page.loadUnaligned(fromByteOffset: 32, as: UInt64.self)
            let lastPage = page.loadUnaligned(fromByteOffset: 136, as: UInt64.self)
            guard mapSize <= largestMap, lastPage >= 1, lastPage < mapSize / UInt64(Page.size) else {
                return .failure(Problem(text: "meta page \(newest) has last page \(lastPage) in a map of \(mapSize) bytes"))
            }
            return .success(
                Meta(
                    free: Tree(UnsafeRawBufferPointer(rebasing: page[40..<88])),
                    main: Tree(UnsafeRawBufferPointer(rebasing: page[88..<136])),
                    lastPage: Int(lastPage), transaction: transactions[newest]))
        }

        /// What is wrong with either meta page: LMDB reads both when it opens a file.
        private static func problem(_ page: UnsafeRawBufferPointer, _ number: Int) -> String? {
            guard page.loadUnaligned(fromByteOffset: 0, as: UInt64.self) == UInt64(number) else {
                return "has another page's number"
            }
            guard page.loadUnaligned(fromByteOffset: 10, as: UInt16.self) == 8 else { return "is not marked as one" }
            guard page.loadUnaligned(fromByteOffset: 16, as: UInt32.self) == 0xBEEF_C0DE else {
                return "does not start with LMDB's magic number"
            }
            let version = page.loadUnaligned(fromByteOffset: 20, as: UInt32.self)
            guard version == 1 else { return "has data version \(version), not 1" }
            let free = Tree(UnsafeRawBufferPointer(rebasing: page[40..<88]))
            guard free.pad == Page.size else { return "has pages of \(free.pad) bytes, not \(Page.size)" }
            // MDB_INTEGERKEY, and of the flags it was opened with, MDB_NOSUBDIR.
            guard free.flags & ~0x4000 == 8 else { return "has flags \(free.flags)" }
            return nil
        }
    }
}
