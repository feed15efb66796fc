internal import Glibc
internal import VMTypes

extension LMDBFile {
    /// One walk over the trees of a file.
    ///
    /// It ends whatever the bytes are: no page is entered twice, and none below level 32. Used by one thread.
    final class Walk {
        /// LMDB's cursors have room for so many levels.
        static let deepest = 32
        let file: File
        let meta: Meta
        /// Whole pages in the file.
        private let pageCount: Int
        private let limit: Int
        private let maxProblems: Int
        private let valueHeaders: Bool
        let used: PageSet
        let free: PageSet
        /// A page for each level, so that a branch's keys stay at hand while its children are read.
        private let levels = AlignedBuffer(capacity: (deepest + 1) * Page.size)
        private(set) var report: Report
        /// Found in the main tree.
        private var tables: [(name: String, tree: Tree)] = []
        /// What the tree being walked was found to hold.
        private var counts = Counts()
        private var isCut = false

        private struct Counts: Equatable {
            var branches: UInt64 = 0
            var leaves: UInt64 = 0
            var overflow: UInt64 = 0
            var entries: UInt64 = 0
        }

        init(_ file: File, size: Int, meta: Meta, limit: Int?, maxProblems: Int, valueHeaders: Bool) throws(StoreError) {
            self.valueHeaders = valueHeaders
            self.file = file
            self.meta = meta
            self.limit = limit ?? .max
            self.maxProblems = maxProblems
            pageCount = size / Page.size
            used = try PageSet(count: meta.lastPage + 1)
            free = try PageSet(count: meta.lastPage + 1)
            report = Report(lastPage: meta.lastPage, transaction: meta.transaction)
        }

        private var isDone: Bool { isCut || report.problems.count >= maxProblems }

        func problem(_ text: String) {
            if report.problems.count < maxProblems { report.problems.append(text) }
        }

        func run() throws(StoreError) {
            defer { report.freePages = free.members }
            try walk(meta.free, .free, "the free list")
            try walk(meta.main, .main, "the main tree")
            for table in tables { try walk(table.tree, .table, "table \(table.name)") }
            guard !isDone else { return }
            if let page = used.firstCommon(with: free) { problem("page \(page) is on the free list and in use") }
            report.leakedPages = meta.lastPage + 1 - 2 - used.members - free.members
        }

        private func walk(_ tree: Tree, _ kind: Kind, _ name: String) throws(StoreError) {
            guard !isDone else { return }
            guard kind == .free || (tree.flags == 0 && tree.pad == 0) else {
                return problem("\(name) has flags \(tree.flags) and padding \(tree.pad)")
            }
            let expected = Counts(
                branches: tree.branchPages, leaves: tree.leafPages, overflow: tree.overflowPages, entries: tree.entries)
            counts = Counts()
            let before = report.problems.count
            if tree.isEmpty {
                guard tree.depth == 0 else { return problem("\(name) is empty at depth \(tree.depth)") }
            } else {
                guard tree.depth >= 1, tree.depth <= Self.deepest else { return problem("\(name) has depth \(tree.depth)") }
                try visit(tree.root, level: 0, below: Int(tree.depth) - 1, kind, (nil, nil), from: .tree(name))
            }
            // Who does not read the headers does not know how many pages a value has beyond those it needs.
            if !valueHeaders, kind != .free { counts.overflow = expected.overflow }
            // A page that was left out makes the counts meaningless.
            guard !isCut, report.problems.count == before, counts != expected else { return }
            problem("\(name) should hold \(Self.text(expected)), but holds \(Self.text(counts))")
        }

        private static func text(_ counts: Counts) -> String {
            """
            \(counts.entries) rows on \(counts.branches) branches and \(counts.leaves) leaves, and \(counts.overflow) pages of \
            large values
            """
        }

        /// What refers to a page.
        private enum Parent: CustomStringConvertible {
            case tree(String)
            case page(Int)

            var description: String {
                switch self {
                case .tree(let name): name
                case .page(let number): "page \(number)"
                }
            }
        }

        private typealias Bounds = (low: UnsafeRawBufferPointer?, high: UnsafeRawBufferPointer?)

        /// Visits the page `number` and all below it; its keys must be within `bounds`, the upper one excluded.
        private func visit(
            _ number: UInt64, level: Int, below: Int, _ kind: Kind, _ bounds: Bounds, from parent: Parent
        ) throws(StoreError) {
            guard !isDone else { return }
            isCut = report.treePages >= limit
            guard !isCut else { return }
            guard let number = claim(number, 1, from: parent) else { return }
            let buffer = levels[level * Page.size..<(level + 1) * Page.size]
            guard try file.readUpTo(buffer, at: number * Page.size) == Page.size else {
                return problem("page \(number) is past the end of the file")
            }
            report.treePages += 1
            let page: TreePage
            switch TreePage.make(UnsafeRawBufferPointer(buffer), number: number, isLeaf: below == 0, kind: kind) {
            case .failure(let failure): return problem("page \(number) \(failure.text)")
            case .success(let made): page = made
            }
            // A branch's first key counts as lower than any, so only its others are compared.
            let first = page.isLeaf ? 0 : 1
            if first < page.count {
                if let low = bounds.low, compare(page.key(first), low, kind) < 0 {
                    return problem("page \(number) has keys below those that its parent gives it")
                }
                if let high = bounds.high, compare(page.key(page.count - 1), high, kind) >= 0 {
                    return problem("page \(number) has keys above those that its parent gives it")
                }
            }
            if page.isLeaf {
                counts.leaves += 1
                counts.entries += UInt64(page.count)
                return try visitValues(page, number, kind)
            }
            counts.branches += 1
            for node in 0..<page.count {
                let inner = (
                    low: node == 0 ? bounds.low : page.key(node),
                    high: node + 1 < page.count ? page.key(node + 1) : bounds.high
                )
                try visit(page.child(node), level: level + 1, below: below - 1, kind, inner, from: .page(number))
            }
        }

        private func visitValues(_ page: TreePage, _ number: Int, _ kind: Kind) throws(StoreError) {
            for node in 0..<page.count where !isDone {
                var list: FreeList? = nil
                if kind == .free {
                    let transaction = page.key(node).loadUnaligned(as: UInt64.self)
                    guard transaction <= meta.transaction else {
                        problem("page \(number) lists pages freed by transaction \(transaction), which is to come")
                        continue
                    }
                    list = FreeList(walk: self, page: number, node: node)
                }
                switch page.value(node) {
                case .tree(let tree): tables.append((String(decoding: page.key(node), as: UTF8.self), tree))
                case .inside(let bytes): try list?.read(bytes)
                case .outside(let first, let size):
                    if !valueHeaders, kind != .free {
                        _ = claim(first, (headerSize - 1 + size) / Page.size + 1, from: .page(number))
                    } else if let start = try overflow(first, size: size, from: number) {
                        try list?.read(size: size, at: start * Page.size + headerSize)
                    }
                }
            }
        }

        /// Checks the pages that hold a value of `size` bytes, and answers the first's number; nil where they are not right.
        private func overflow(_ number: UInt64, size: Int, from leaf: Int) throws(StoreError) -> Int? {
            guard inFile(number, 1) else {
                problem("page \(leaf) refers to page \(number), which is not in the file")
                return nil
            }
            let start = Int(number)
            var header = (own: UInt64(0), pad: UInt16(0), flags: UInt16(0), pages: UInt32(0))
            try withUnsafeMutableBytes(of: &header) { bytes throws(StoreError) in
                _ = try file.readUpTo(bytes, at: start * Page.size)
            }
            guard header.own == number, header.flags == 4 else {
                problem("page \(number), to which page \(leaf) refers, is not the start of a value")
                return nil
            }
            let pages = Int(header.pages)
            guard pages >= (headerSize - 1 + size) / Page.size + 1 else {
                problem("page \(number) starts \(pages) pages for a value of \(size) bytes")
                return nil
            }
            guard claim(number, pages, from: .page(leaf)) != nil else { return nil }
            counts.overflow += UInt64(pages)
            report.overflowPages += pages
            return start
        }

        private func inFile(_ number: UInt64, _ count: Int) -> Bool {
            let end = min(meta.lastPage + 1, pageCount)
            return number >= 2 && number < UInt64(end) && count >= 1 && count <= end - Int(number)
        }

        /// Marks pages as used; nil, and a problem, where they are not in the file or in use already.
        private func claim(_ number: UInt64, _ count: Int, from parent: Parent) -> Int? {
            guard inFile(number, count) else {
                problem("\(parent) refers to \(count) pages from page \(number), which are not in the file")
                return nil
            }
            guard used.insert(Int(number), count: count) else {
                problem("\(parent) refers to \(count) pages from page \(number), which are in use elsewhere")
                return nil
            }
            return Int(number)
        }
    }
}
