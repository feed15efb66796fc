/// Disjoint entries in address order: a node of a B-tree, and with everything below it a whole tree.
///
/// A leaf holds entries, an inner node holds children; every leaf has the same depth. Each node carries
/// the summary of its subtree beside its siblings' in the parent's array, so that a descent reads one
/// array a level. Nodes are values: a copy of a tree is O(1) and shares all nodes until one of the two
/// is changed, which copies only the path to the change.
struct EntryTree: Sendable {
    /// The most entries or children in a node.
    static let capacity = 32
    /// The fewest entries or children in a node other than the root.
    static let minimum = capacity / 4

    /// The start of the first entry; 0 in an empty tree.
    private(set) var first: UInt64 = 0
    /// The end of the last entry; 0 in an empty tree.
    private(set) var last: UInt64 = 0
    /// The largest gap, in bytes, between two neighbours of the subtree.
    private(set) var largestGap: UInt64 = 0
    /// The entries of a leaf.
    var entries: [MapEntry] = []
    /// The children of an inner node; empty in a leaf.
    var children: [EntryTree] = []

    /// An empty leaf.
    init() {}

    /// A leaf of `entries`.
    init(entries: [MapEntry]) {
        self.entries = entries
        summarize()
    }

    /// An inner node of `children`.
    init(children: [EntryTree]) {
        self.children = children
        summarize()
    }

    var isLeaf: Bool { children.isEmpty }
    var isEmpty: Bool { entries.isEmpty && children.isEmpty }
    /// The number of entries or children of this node.
    var width: Int { isLeaf ? entries.count : children.count }

    /// Recomputes the node's summary from its entries, or from its children's summaries.
    mutating func summarize() {
        first = 0
        last = 0
        largestGap = 0
        if isLeaf {
            guard let head = entries.first else { return }
            first = head.start
            last = head.end
            for index in 1..<max(entries.count, 1) {
                largestGap = max(largestGap, entries[index].start - last)
                last = entries[index].end
            }
        } else {
            first = children[0].first
            last = children[0].last
            largestGap = children[0].largestGap
            for index in 1..<max(children.count, 1) {
                largestGap = max(largestGap, children[index].first - last, children[index].largestGap)
                last = children[index].last
            }
        }
    }

    /// The index of the first entry or child that ends after `address`; `width` where there is none.
    func index(endingAfter address: UInt64) -> Int {
        var low = 0
        var high = width
        let leaf = isLeaf
        while low < high {
            let middle = (low + high) / 2
            if (leaf ? entries[middle].end : children[middle].last) > address {
                high = middle
            } else {
                low = middle + 1
            }
        }
        return low
    }

    /// The first entry that ends after `address`: the one that contains it, or else the next above.
    /// O(log n).
    func entry(endingAfter address: UInt64) -> MapEntry? {
        let index = index(endingAfter: address)
        if isLeaf { return index < entries.count ? entries[index] : nil }
        return index < children.count ? children[index].entry(endingAfter: address) : nil
    }

    /// The entries of the leaf that holds the first entry ending after `address`, and that entry's
    /// index. O(log n).
    func leaf(endingAfter address: UInt64) -> (entries: [MapEntry], index: Int)? {
        let index = index(endingAfter: address)
        if isLeaf { return index < entries.count ? (entries, index) : nil }
        return index < children.count ? children[index].leaf(endingAfter: address) : nil
    }
}
