extension ContainerWalk {
    /// What a walk knows of a sorted map.
    private struct Tree {
        let header: Int
        let keyStride: Int
        let valueStride: Int
        let valueAlignment: Int
        let key: StoredShape
        let value: StoredShape
        var stored: StoredKey?
        var count = 0
        /// The leaf, and the key, before the one that is looked at; 0 at first.
        var lastLeaf = 0
        var lastKey = 0
    }

    func walkSortedMap(_ header: Int, _ key: StoredShape, _ value: StoredShape) {
        guard isHeader(.sortedMap, header, byteCount: BTreeFormat.headerSize) else { return }
        let alignment = Int(space.read(header + BTreeFormat.valueAlignment, as: UInt32.self))
        let height = Int(space.read(header + BTreeFormat.height, as: UInt32.self))
        let root: Int = space.read(header + BTreeFormat.root)
        var tree = Tree(
            header: header, keyStride: Int(space.read(header + BTreeFormat.keyStride, as: UInt32.self)),
            valueStride: Int(space.read(header + BTreeFormat.valueStride, as: UInt32.self)), valueAlignment: alignment, key: key,
            value: value, stored: nil)
        tree.stored = StoredKey(key, room: tree.keyStride, in: space)
        guard alignment > 0, alignment & (alignment - 1) == 0, height <= BTreeFormat.maximumHeight, (root == 0) == (height == 0),
            alignment <= 4096, tree.keyStride > 0, tree.keyStride < 1 << 31, tree.valueStride < 1 << 31
        else { return found(.sortedMap, header, "\(height) levels below offset \(root), values aligned to \(alignment)") }
        if root != 0 { walkNode(root, level: height - 1, &tree) }
        let expected = space.count(at: header)
        if tree.count != expected { found(.sortedMap, header, "it says \(expected) keys, and has \(tree.count)") }
        if tree.lastLeaf != 0, space.read(tree.lastLeaf + BTreeFormat.nextLeaf) != 0 {
            found(.sortedMap, header, "the last leaf, at offset \(tree.lastLeaf), names one after it")
        }
    }

    private func walkNode(_ node: Int, level: Int, _ tree: inout Tree) {
        guard space.holds(node, BTreeFormat.firstKey, alignment: 8), space.read(node + BTreeFormat.nodeLevel) == level else {
            return found(.sortedMap, tree.header, "there is no node of level \(level) at offset \(node)")
        }
        let count = Int(space.read(node, as: UInt32.self))
        let capacity = Int(space.read(node + BTreeFormat.nodeCapacity, as: UInt32.self))
        guard capacity <= BTreeFormat.nodeSize else {
            return found(.sortedMap, tree.header, "the node at offset \(node) has room for \(capacity) keys")
        }
        let keysEnd = BTreeFormat.firstKey + capacity * tree.keyStride
        let start = BTreeFormat.rounded(keysEnd, to: level == 0 ? tree.valueAlignment : 8)
        let size = level == 0 ? start + capacity * tree.valueStride : start + (capacity + 1) * 8
        guard count <= capacity, space.holds(node, size, alignment: 8) else {
            return found(.sortedMap, tree.header, "the node at offset \(node) has \(count) of \(capacity) keys")
        }
        visited(node, size, "node of a sorted map")
        for slot in 0..<count { walk(tree.key, at: node + BTreeFormat.firstKey + slot * tree.keyStride) }
        if level > 0 {
            for slot in 0...count {
                walkNode(space.read(node + start + slot * 8), level: level - 1, &tree)
                // Less than the keys after it, and not greater than the key before it.
                if slot < count { compare(node + BTreeFormat.firstKey + slot * tree.keyStride, isSeparator: true, &tree) }
            }
            return
        }
        if count == 0 { found(.sortedMap, tree.header, "the leaf at offset \(node) has no keys") }
        if space.read(node + BTreeFormat.previousLeaf) != tree.lastLeaf
            || tree.lastLeaf != 0 && space.read(tree.lastLeaf + BTreeFormat.nextLeaf) != node
        {
            found(.sortedMap, tree.header, "the leaves at offsets \(tree.lastLeaf) and \(node) should name each other")
        }
        tree.lastLeaf = node
        tree.count += count
        for slot in 0..<count {
            compare(node + BTreeFormat.firstKey + slot * tree.keyStride, isSeparator: false, &tree)
            walk(tree.value, at: node + start + slot * tree.valueStride)
        }
    }

    /// Compares a key to the one before it: a leaf's may equal the separator before it.
    private func compare(_ key: Int, isSeparator: Bool, _ tree: inout Tree) {
        if let stored = tree.stored, tree.lastKey > 0 || tree.lastKey < 0 {
            let orEqual = !isSeparator && tree.lastKey < 0
            if !stored.isOrdered(abs(tree.lastKey), key, orEqual: orEqual) {
                found(.sortedMap, tree.header, "the keys at offsets \(abs(tree.lastKey)) and \(key) are out of order")
            }
        }
        tree.lastKey = isSeparator ? -key : key
    }
}
