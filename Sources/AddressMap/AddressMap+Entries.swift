extension AddressMap {
    /// All entries in address order.
    public var entries: Entries { Entries(tree: tree) }

    /// The entries of a map in address order, as they were when the sequence was made. O(1) to make,
    /// O(n) to walk.
    public struct Entries: Sequence, Sendable {
        let tree: EntryTree

        /// Walks the entries from the lowest address.
        public func makeIterator() -> Iterator { Iterator(tree: tree) }

        /// Walks the entries of a map, a leaf at a time.
        public struct Iterator: IteratorProtocol, Sendable {
            private let tree: EntryTree
            private var leaf: [MapEntry] = []
            private var index = 0
            private var address: UInt64 = 0

            init(tree: EntryTree) { self.tree = tree }

            /// The next entry, or nil after the last. O(1) amortized.
            public mutating func next() -> MapEntry? {
                if index == leaf.count {
                    guard let (entries, first) = tree.leaf(endingAfter: address) else { return nil }
                    leaf = entries
                    index = first
                }
                defer { index += 1 }
                address = leaf[index].end
                return leaf[index]
            }
        }
    }
}
