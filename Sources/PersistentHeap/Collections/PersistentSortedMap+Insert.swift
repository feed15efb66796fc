/// Insertion: a full leaf is split on a way down that splits the full nodes above it first, so that each has room for one more
/// key when its child is split. Each step leaves a whole tree: where memory runs out, no pair is lost.
extension PersistentSortedMap {
    /// Puts a key in that is not there; within the change that has found its place.
    @inlinable
    func insertNew(_ key: Key, _ value: Value, at found: Place) throws(HeapError) {
        var place = found
        while place.leaf == 0 || count(ofNode: place.leaf) == capacity(ofNode: place.leaf) {
            try makeRoom(for: key, leaf: place.leaf)
            place = locate(key)
        }
        let storedKey = try Key.store(key, in: space)
        let storedValue: Value.Stored
        if Value.ownsMemory {
            do throws(HeapError) { storedValue = try Value.store(value, in: space) } catch {
                try Key.release(storedKey, in: space)
                throw error
            }
        } else {
            storedValue = try Value.store(value, in: space)
        }
        let count = count(ofNode: place.leaf)
        movePairs(place.leaf, place.slot, to: place.leaf, place.slot &+ 1, count: count &- place.slot)
        space.write(storedKey, at: keyOffset(place.leaf, place.slot))
        space.write(storedValue, at: valueOffset(place.leaf, place.slot))
        setCount(ofNode: place.leaf, count &+ 1)
        space.write(space.count(at: header) &+ 1, at: header &+ 8)
    }

    @inlinable @inline(never)
    func makeRoom(for key: Key, leaf: Int) throws(HeapError) {
        try space.checkAttached(header)
        if height == 0 {
            let leaf = try makeNode(level: 0, capacity: Swift.min(8, Self.leafCapacity))
            return setRoot(leaf, height: 1)
        }
        guard leaf != 0 else { throw damage(node: root, level: height &- 1) }
        if height == 1, capacity(ofNode: leaf) < Self.leafCapacity { return try enlargeLeaf(leaf) }
        try splitDown(to: key)
    }

    @inlinable
    func setRoot(_ node: Int, height: Int) {
        space.willWrite(header &+ BTreeFormat.root, 12)
        space.writeDeclared(node, at: header &+ BTreeFormat.root)
        space.writeDeclared(UInt32(truncatingIfNeeded: height), at: header &+ BTreeFormat.height)
    }

    /// Moves a small leaf that is the root into one of twice the room.
    @inlinable
    func enlargeLeaf(_ old: Int) throws(HeapError) {
        let new = try makeNode(level: 0, capacity: Swift.min(capacity(ofNode: old) &* 2, Self.leafCapacity))
        movePairs(old, 0, to: new, 0, count: count(ofNode: old))
        setCount(ofNode: new, count(ofNode: old))
        setRoot(new, height: 1)
        try space.free(old)
    }

    @inlinable
    func capacity(level: Int) -> Int { level == 0 ? Self.leafCapacity : Self.innerCapacity }

    /// Splits the full nodes on the way to where a key belongs.
    @inlinable
    func splitDown(to key: Key) throws(HeapError) {
        var level = height &- 1
        var node = root
        if count(ofNode: node) == capacity(level: level) {
            guard height < BTreeFormat.maximumHeight else { throw damage(node: root, level: level) }
            let top = try makeNode(level: level &+ 1, capacity: Self.innerCapacity)
            space.write(node, at: childOffset(top, 0))
            do throws(HeapError) { try splitChild(0, of: top, level: level, key) } catch {
                try space.free(top)
                throw error
            }
            setRoot(top, height: level &+ 2)
            node = top
            level &+= 1
        }
        while level > 0 {
            let slot = childSlot(node, key)
            let child: Int = space.read(childOffset(node, slot))
            guard isSound(child, level: level &- 1) else { throw damage(node: child, level: level &- 1) }
            if count(ofNode: child) == capacity(level: level &- 1) {
                try splitChild(slot, of: node, level: level &- 1, key)
                node = space.read(childOffset(node, childSlot(node, key)))
                guard isSound(node, level: level &- 1) else { throw damage(node: node, level: level &- 1) }
            } else {
                node = child
            }
            level &-= 1
        }
    }

    /// Splits a full child of a node that has room. Where the key comes after all others, nearly all stay in the left half.
    @inlinable
    func splitChild(_ slot: Int, of parent: Int, level: Int, _ key: Key) throws(HeapError) {
        let child: Int = space.read(childOffset(parent, slot))
        let count = count(ofNode: child)
        let isAtEnd =
            slot == self.count(ofNode: parent) && key.order(ofStored: space.read(keyOffset(child, count &- 1)), in: space) < 0
            && (level > 0 || space.read(child &+ BTreeFormat.nextLeaf) == 0)
        let right = try makeNode(level: level, capacity: capacity(level: level))
        let separator: Key.Stored
        if level == 0 {
            let kept = isAtEnd ? count &- 1 : count / 2
            if Key.ownsMemory {
                do throws(HeapError) { separator = try Key.store(self.key(child, kept), in: space) } catch {
                    try space.free(right)
                    throw error
                }
            } else {
                separator = space.read(keyOffset(child, kept))
            }
            movePairs(child, kept, to: right, 0, count: count &- kept)
            setCount(ofNode: right, count &- kept)
            setCount(ofNode: child, kept)
            let next: Int = space.read(child &+ BTreeFormat.nextLeaf)
            space.write(next, at: right &+ BTreeFormat.nextLeaf)
            space.write(child, at: right &+ BTreeFormat.previousLeaf)
            space.write(right, at: child &+ BTreeFormat.nextLeaf)
            if next != 0, isSound(next, level: 0) { space.write(right, at: next &+ BTreeFormat.previousLeaf) }
        } else {
            let kept = isAtEnd ? count &- 2 : count / 2
            separator = space.read(keyOffset(child, kept))
            let moved = count &- kept &- 1
            space.copyBytes(from: keyOffset(child, kept &+ 1), to: keyOffset(right, 0), byteCount: moved &* Self.keyStride)
            space.copyBytes(from: childOffset(child, kept &+ 1), to: childOffset(right, 0), byteCount: (moved &+ 1) &* 8)
            setCount(ofNode: right, moved)
            setCount(ofNode: child, kept)
        }
        let after = self.count(ofNode: parent) &- slot
        space.copyBytes(from: keyOffset(parent, slot), to: keyOffset(parent, slot &+ 1), byteCount: after &* Self.keyStride)
        space.copyBytes(from: childOffset(parent, slot &+ 1), to: childOffset(parent, slot &+ 2), byteCount: after &* 8)
        space.write(separator, at: keyOffset(parent, slot))
        space.write(right, at: childOffset(parent, slot &+ 1))
        setCount(ofNode: parent, self.count(ofNode: parent) &+ 1)
    }
}
