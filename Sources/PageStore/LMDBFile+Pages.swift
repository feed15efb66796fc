internal import Glibc
internal import VMTypes

extension LMDBFile {
    /// Bytes of the header that starts each page, and each value kept outside the trees.
    static let headerSize = 16
    static let longestKey = 511
    /// LMDB keeps two nodes a page at least, so that pages can be split: half a page, less the node's offset.
    static let largestNode = 2038

    /// What a tree holds, which decides what its nodes may be.
    enum Kind {
        /// Lists of free pages by transaction number.
        case free
        /// The names of the tables and their trees.
        case main
        /// Rows of one table.
        case table
    }

    /// A branch or leaf page whose every node lies within it.
    ///
    /// Invariant: `bytes` are one page, and the keys and values of nodes `0..<count` are inside; only `make` makes one.
    struct TreePage {
        let bytes: UnsafeRawBufferPointer
        let isLeaf: Bool
        let count: Int

        private init(bytes: UnsafeRawBufferPointer, isLeaf: Bool, count: Int) {
            self.bytes = bytes
            self.isLeaf = isLeaf
            self.count = count
        }

        func field<T: FixedWidthInteger>(_ offset: Int, _ type: T.Type = T.self) -> T {
            bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
        }

        private func offset(_ node: Int) -> Int { Int(field(headerSize + 2 * node, UInt16.self)) }

        func key(_ node: Int) -> UnsafeRawBufferPointer {
            let start = offset(node)
            return slice(start + 8, Int(field(start + 6, UInt16.self)))
        }

        func slice(_ start: Int, _ count: Int) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: bytes[start..<start + count])
        }

        /// The page below a branch's node.
        func child(_ node: Int) -> UInt64 {
            let start = offset(node)
            let low = UInt64(field(start, UInt32.self))
            return low | UInt64(field(start + 4, UInt16.self)) << 32
        }

        /// What a leaf's node holds.
        func value(_ node: Int) -> Value {
            let start = offset(node)
            let size = Int(field(start, UInt32.self))
            let data = start + 8 + Int(field(start + 6, UInt16.self))
            switch field(start + 4, UInt16.self) {
            case 1: return .outside(page: field(data), size: size)
            case 2: return .tree(Tree(slice(data, Tree.size)))
            default: return .inside(slice(data, size))
            }
        }
    }

    enum Value {
        case inside(UnsafeRawBufferPointer)
        case outside(page: UInt64, size: Int)
        case tree(Tree)
    }
}

extension LMDBFile.TreePage {
    /// The page `number` that `bytes` hold, or what is wrong with it; `bytes` must be one page.
    static func make(
        _ bytes: UnsafeRawBufferPointer, number: Int, isLeaf: Bool, kind: LMDBFile.Kind
    ) -> Result<Self, LMDBFile.Problem> {
        func failure(_ text: String) -> Result<Self, LMDBFile.Problem> { .failure(LMDBFile.Problem(text: text)) }
        let own = bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
        guard own == UInt64(number) else { return failure("bears the number \(own)") }
        let flags = bytes.loadUnaligned(fromByteOffset: 10, as: UInt16.self)
        guard flags == (isLeaf ? 2 : 1) else {
            return failure("has flags \(flags), where a \(isLeaf ? "leaf" : "branch") was expected")
        }
        let lower = Int(bytes.loadUnaligned(fromByteOffset: 12, as: UInt16.self))
        let upper = Int(bytes.loadUnaligned(fromByteOffset: 14, as: UInt16.self))
        guard lower >= LMDBFile.headerSize, lower <= upper, upper <= Page.size, lower & 1 == 0, upper & 1 == 0 else {
            return failure("has its free space from \(lower) to \(upper)")
        }
        // LMDB asserts two nodes in a branch, except in the free list's tree.
        let count = (lower - LMDBFile.headerSize) / 2
        guard count >= (isLeaf || kind == .free ? 1 : 2) else { return failure("has \(count) nodes") }
        let page = Self(bytes: bytes, isLeaf: isLeaf, count: count)
        if let text = page.nodeProblem(upper: upper, kind: kind) ?? page.orderProblem(kind) { return failure(text) }
        return .success(page)
    }

    /// The nodes fill `upper..<Page.size` without gap or overlap, and are what the kind of tree allows.
    private func nodeProblem(upper: Int, kind: LMDBFile.Kind) -> String? {
        var used = 0
        return withUnsafeTemporaryAllocation(byteCount: Page.size / 2, alignment: 8) { taken -> String? in
            taken.initializeMemory(as: UInt8.self, repeating: 0)
            for node in 0..<count {
                let start = Int(field(LMDBFile.headerSize + 2 * node, UInt16.self))
                guard start >= upper, start & 1 == 0, start <= Page.size - 8 else {
                    return "has node \(node) at offset \(start)"
                }
                let keySize = Int(field(start + 6, UInt16.self))
                guard keySize <= LMDBFile.longestKey, keySize > 0 || (!isLeaf && node == 0),
                    kind != .free || keySize == 8 || keySize == 0
                else { return "has a key of \(keySize) bytes in node \(node)" }
                guard let dataSize = dataSize(start, kind) else {
                    return "has flags \(field(start + 4, UInt16.self)) in node \(node)"
                }
                let size = (8 + keySize + dataSize + 1) & ~1
                guard size <= LMDBFile.largestNode, size <= Page.size - start else {
                    return "has a node \(node) of \(size) bytes at offset \(start)"
                }
                for slot in start / 2..<(start + size) / 2 {
                    guard taken[slot] == 0 else { return "has overlapping nodes at \(slot * 2)" }
                    taken[slot] = 1
                }
                used += size
            }
            return used == Page.size - upper ? nil : "has \(used) bytes of nodes where \(Page.size - upper) were expected"
        }
    }

    /// Bytes of a node after its key; nil where its flags are not allowed.
    private func dataSize(_ start: Int, _ kind: LMDBFile.Kind) -> Int? {
        guard isLeaf else { return 0 }
        let size = Int(field(start, UInt32.self))
        switch field(start + 4, UInt16.self) {
        case 0: return size
        case 1: return 8
        case 2: return kind == .main && size == LMDBFile.Tree.size ? size : nil
        default: return nil
        }
    }

    /// Keys ascend, except for a branch's first, which counts as lower than any.
    private func orderProblem(_ kind: LMDBFile.Kind) -> String? {
        for node in (isLeaf ? 1 : 2)..<max(count, 2) where node < count {
            if LMDBFile.compare(key(node - 1), key(node), kind) >= 0 {
                return "has its keys out of order at node \(node)"
            }
        }
        return nil
    }
}

extension LMDBFile {
    /// Negative, zero or positive as `a` is below, at or above `b`: bytewise and then by length, or as numbers in the
    /// free list.
    static func compare(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, _ kind: Kind) -> Int {
        if kind == .free, a.count == 8, b.count == 8 {
            let (x, y) = (a.loadUnaligned(as: UInt64.self), b.loadUnaligned(as: UInt64.self))
            return x < y ? -1 : x == y ? 0 : 1
        }
        let shared = min(a.count, b.count)
        if shared > 0 {
            let order = memcmp(a.baseAddress!, b.baseAddress!, shared)
            if order != 0 { return Int(order) }
        }
        return a.count - b.count
    }
}
