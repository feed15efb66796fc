/// Removal: where a leaf gets to be less than a quarter full, it is merged with the one beside it if both fit into one, and so
/// are the nodes above it on the way down. No step needs memory.
extension PersistentSortedMap {
    /// Takes a pair out; within the change that has found it.
    @inlinable
    func removePair(_ place: Place, _ key: Key) throws(HeapError) {
        let storedKey: Key.Stored = space.read(keyOffset(place.leaf, place.slot))
        let storedValue: Value.Stored = space.read(valueOffset(place.leaf, place.slot))
        let count = count(ofNode: place.leaf) &- 1
        movePairs(place.leaf, place.slot &+ 1, to: place.leaf, place.slot, count: count &- place.slot)
        setCount(ofNode: place.leaf, count)
        space.write(space.count(at: header) &- 1, at: header &+ 8)
        if height > 1, count < Self.leafCapacity / 4 || count == 0 {
            try mergeDown(to: key)
        } else if count == 0 {
            setRoot(0, height: 0)
            try space.free(place.leaf)
        }
        try Key.release(storedKey, in: space)
        try Value.release(storedValue, in: space)
    }

    /// Merges the sparse nodes on the way to where a key was.
    @inlinable @inline(never)
    func mergeDown(to key: Key) throws(HeapError) {
        var level = height &- 1
        var node = root
        while level > 0 {
            var slot = childSlot(node, key)
            let child: Int = space.read(childOffset(node, slot))
            guard isSound(child, level: level &- 1) else { throw damage(node: child, level: level &- 1) }
            let least = level == 1 ? Swift.max(Self.leafCapacity / 4, 1) : Swift.max(Self.innerCapacity / 4, 2)
            if count(ofNode: child) < least, count(ofNode: node) > 0 {
                try fillChild(slot, of: node, level: level &- 1)
                slot = childSlot(node, key)
            }
            let next: Int = space.read(childOffset(node, slot))
            guard isSound(next, level: level &- 1) else { throw damage(node: next, level: level &- 1) }
            if count(ofNode: node) == 0, node == root {
                // All that the root had is in its one child.
                setRoot(next, height: level)
                try space.free(node)
            }
            node = next
            level &-= 1
        }
    }

    /// Merges a child with the one beside it; where both don't fit into one, an inner node takes a child of its neighbour.
    @inlinable
    func fillChild(_ slot: Int, of parent: Int, level: Int) throws(HeapError) {
        let leftSlot = slot == 0 ? 0 : slot &- 1
        let left: Int = space.read(childOffset(parent, leftSlot))
        let right: Int = space.read(childOffset(parent, leftSlot &+ 1))
        guard isSound(left, level: level) else { throw damage(node: left, level: level) }
        guard isSound(right, level: level) else { throw damage(node: right, level: level) }
        let leftCount = count(ofNode: left)
        let rightCount = count(ofNode: right)
        if level == 0 {
            guard leftCount &+ rightCount <= Self.leafCapacity else { return }
            movePairs(right, 0, to: left, leftCount, count: rightCount)
            setCount(ofNode: left, leftCount &+ rightCount)
            let next: Int = space.read(right &+ BTreeFormat.nextLeaf)
            space.write(next, at: left &+ BTreeFormat.nextLeaf)
            if next != 0, isSound(next, level: 0) { space.write(left, at: next &+ BTreeFormat.previousLeaf) }
            try Key.release(space.read(keyOffset(parent, leftSlot)), in: space)
        } else if leftCount &+ 1 &+ rightCount <= Self.innerCapacity {
            // The separator goes down between the two.
            space.copyBytes(from: keyOffset(parent, leftSlot), to: keyOffset(left, leftCount), byteCount: Self.keyStride)
            space.copyBytes(from: keyOffset(right, 0), to: keyOffset(left, leftCount &+ 1), byteCount: rightCount &* Self.keyStride)
            space.copyBytes(from: childOffset(right, 0), to: childOffset(left, leftCount &+ 1), byteCount: (rightCount &+ 1) &* 8)
            setCount(ofNode: left, leftCount &+ 1 &+ rightCount)
        } else {
            return rotate(leftSlot, of: parent, toLeft: slot == leftSlot)
        }
        let after = count(ofNode: parent) &- leftSlot &- 1
        space.copyBytes(from: keyOffset(parent, leftSlot &+ 1), to: keyOffset(parent, leftSlot), byteCount: after &* Self.keyStride)
        space.copyBytes(from: childOffset(parent, leftSlot &+ 2), to: childOffset(parent, leftSlot &+ 1), byteCount: after &* 8)
        setCount(ofNode: parent, count(ofNode: parent) &- 1)
        try space.free(right)
    }

    /// Moves one child between two inner nodes, through their parent's key.
    @inlinable
    func rotate(_ slot: Int, of parent: Int, toLeft: Bool) {
        let left: Int = space.read(childOffset(parent, slot))
        let right: Int = space.read(childOffset(parent, slot &+ 1))
        let leftCount = count(ofNode: left)
        let rightCount = count(ofNode: right)
        let stride = Self.keyStride
        if toLeft {
            space.copyBytes(from: keyOffset(parent, slot), to: keyOffset(left, leftCount), byteCount: stride)
            space.copyBytes(from: childOffset(right, 0), to: childOffset(left, leftCount &+ 1), byteCount: 8)
            space.copyBytes(from: keyOffset(right, 0), to: keyOffset(parent, slot), byteCount: stride)
            space.copyBytes(from: keyOffset(right, 1), to: keyOffset(right, 0), byteCount: (rightCount &- 1) &* stride)
            space.copyBytes(from: childOffset(right, 1), to: childOffset(right, 0), byteCount: rightCount &* 8)
        } else {
            space.copyBytes(from: keyOffset(right, 0), to: keyOffset(right, 1), byteCount: rightCount &* stride)
            space.copyBytes(from: childOffset(right, 0), to: childOffset(right, 1), byteCount: (rightCount &+ 1) &* 8)
            space.copyBytes(from: keyOffset(parent, slot), to: keyOffset(right, 0), byteCount: stride)
            space.copyBytes(from: childOffset(left, leftCount), to: childOffset(right, 0), byteCount: 8)
            space.copyBytes(from: keyOffset(left, leftCount &- 1), to: keyOffset(parent, slot), byteCount: stride)
        }
        setCount(ofNode: left, leftCount &+ (toLeft ? 1 : -1))
        setCount(ofNode: right, rightCount &+ (toLeft ? -1 : 1))
    }

    /// Frees a node and all below it, with the keys and values.
    @inlinable
    func releaseNode(_ node: Int, level: Int) throws(HeapError) {
        guard isSound(node, level: level) else { throw damage(node: node, level: level) }
        let count = count(ofNode: node)
        if Key.ownsMemory { for slot in 0..<count { try Key.release(space.read(keyOffset(node, slot)), in: space) } }
        if level > 0 {
            for slot in 0...count { try releaseNode(space.read(childOffset(node, slot)), level: level &- 1) }
        } else if Value.ownsMemory {
            for slot in 0..<count { try Value.release(space.read(valueOffset(node, slot)), in: space) }
        }
        try space.free(node)
    }
}
