extension EntryTree {
    /// Adds `entry`, which must overlap none of the tree's. O(log n).
    mutating func insert(_ entry: MapEntry) {
        if let sibling = add(entry) {
            let left = self
            self = EntryTree(children: [left, sibling])
        }
    }

    /// Takes out the entry that starts at `start`, which must be there. O(log n).
    mutating func remove(startingAt start: UInt64) {
        drop(start)
        if children.count == 1 {
            let only = children[0]
            self = only
        }
    }

    /// Puts `entry` in the place of the one that starts at `start`, which must be there.
    ///
    /// The order of the tree must stay as it is: `entry` may reach no further than the neighbours.
    /// O(log n).
    mutating func replace(startingAt start: UInt64, with entry: MapEntry) {
        let index = index(endingAfter: start)
        if isLeaf {
            precondition(entries[index].start == start, "no entry starts at the address to be replaced")
            entries[index] = entry
        } else {
            children[index].replace(startingAt: start, with: entry)
        }
        summarize()
    }

    /// Adds `entry` below this node; a node that became too wide gives its upper half back.
    private mutating func add(_ entry: MapEntry) -> EntryTree? {
        let index = index(endingAfter: entry.start)
        if isLeaf {
            entries.insert(entry, at: index)
        } else {
            let child = min(index, children.count - 1)
            if let sibling = children[child].add(entry) {
                children.insert(sibling, at: child + 1)
            }
        }
        return split()
    }

    /// Brings the node to its legal width and its summary up to date; gives the upper half back where
    /// the node was too wide.
    private mutating func split() -> EntryTree? {
        guard width > Self.capacity else {
            summarize()
            return nil
        }
        let middle = width / 2
        let sibling: EntryTree
        if isLeaf {
            sibling = EntryTree(entries: Array(entries[middle...]))
            entries.removeSubrange(middle...)
        } else {
            sibling = EntryTree(children: Array(children[middle...]))
            children.removeSubrange(middle...)
        }
        summarize()
        return sibling
    }

    /// Takes an entry out below this node, joining children that became too narrow with a neighbour.
    private mutating func drop(_ start: UInt64) {
        let index = index(endingAfter: start)
        if isLeaf {
            precondition(entries[index].start == start, "no entry starts at the address to be removed")
            entries.remove(at: index)
        } else {
            children[index].drop(start)
            if children[index].width < Self.minimum, children.count > 1 {
                let left = max(index - 1, 0)
                let right = children.remove(at: left + 1)
                if let sibling = children[left].absorb(right) {
                    children.insert(sibling, at: left + 1)
                }
            }
        }
        summarize()
    }

    /// Appends what `right`, the next node of the same depth, holds; gives the upper half back where
    /// that is too wide.
    private mutating func absorb(_ right: EntryTree) -> EntryTree? {
        entries.append(contentsOf: right.entries)
        children.append(contentsOf: right.children)
        return split()
    }
}
