/// Searching, and the bytes of nodes.
///
/// Invariant: a node is looked into only after `isSound` has found it within the heap, of the level that is looked for, with as
/// many keys as it has room for at most; so no node of a damaged heap leads out of it. Descents take as many steps as the header
/// says levels at most.
extension PersistentSortedMap {
    @inlinable @inline(__always) static var keyStride: Int { MemoryLayout<Key.Stored>.stride }
    @inlinable @inline(__always) static var valueStride: Int { Swift.max(MemoryLayout<Value.Stored>.size, 0) == 0 ? 0 : MemoryLayout<Value.Stored>.stride }
    @inlinable @inline(__always) static var valueAlignment: Int { MemoryLayout<Value.Stored>.alignment }

    @inlinable @inline(__always) static var leafCapacity: Int {
        Swift.max((BTreeFormat.nodeSize &- BTreeFormat.firstKey &- valueAlignment &+ 1) / (keyStride &+ valueStride), 4)
    }
    @inlinable @inline(__always) static var innerCapacity: Int {
        Swift.max((BTreeFormat.nodeSize &- BTreeFormat.firstKey &- 16) / (keyStride &+ 8), 4)
    }
    /// Where the values of a leaf begin.
    @inlinable @inline(__always)
    static func valuesOffset(capacity: Int) -> Int {
        BTreeFormat.rounded(BTreeFormat.firstKey &+ capacity &* keyStride, to: valueAlignment)
    }
    /// Where the children of an inner node begin.
    @inlinable @inline(__always) static var childrenOffset: Int {
        BTreeFormat.rounded(BTreeFormat.firstKey &+ innerCapacity &* keyStride, to: 8)
    }
    @inlinable @inline(__always)
    static func leafSize(capacity: Int) -> Int { valuesOffset(capacity: capacity) &+ capacity &* valueStride }
    @inlinable @inline(__always) static var innerSize: Int { childrenOffset &+ (innerCapacity &+ 1) &* 8 }
    @inlinable @inline(__always) static var nodeAlignment: Int {
        Swift.max(MemoryLayout<Key.Stored>.alignment, valueAlignment, 8)
    }

    @inlinable @inline(__always) var root: Int { space.read(header &+ BTreeFormat.root) }
    @inlinable @inline(__always) var height: Int { Int(truncatingIfNeeded: space.read(header &+ BTreeFormat.height, as: UInt32.self)) }

    @inlinable @inline(__always)
    func count(ofNode node: Int) -> Int { Int(truncatingIfNeeded: space.read(node, as: UInt32.self)) }
    @inlinable @inline(__always)
    func capacity(ofNode node: Int) -> Int { Int(truncatingIfNeeded: space.read(node &+ BTreeFormat.nodeCapacity, as: UInt32.self)) }
    @inlinable @inline(__always)
    func setCount(ofNode node: Int, _ count: Int) { space.write(UInt32(truncatingIfNeeded: count), at: node) }

    @inlinable @inline(__always)
    func keyOffset(_ node: Int, _ slot: Int) -> Int { node &+ BTreeFormat.firstKey &+ slot &* Self.keyStride }
    @inlinable @inline(__always)
    func valueOffset(_ leaf: Int, _ slot: Int) -> Int {
        leaf &+ Self.valuesOffset(capacity: capacity(ofNode: leaf)) &+ slot &* Self.valueStride
    }
    @inlinable @inline(__always)
    func childOffset(_ node: Int, _ slot: Int) -> Int { node &+ Self.childrenOffset &+ slot &* 8 }

    @inlinable @inline(__always)
    func key(_ node: Int, _ slot: Int) -> Key { Key.load(space.read(keyOffset(node, slot)), in: space) }
    @inlinable @inline(__always)
    func value(_ leaf: Int, _ slot: Int) -> Value { Value.load(space.read(valueOffset(leaf, slot)), in: space) }

    /// Whether a node of the level may be looked into.
    @inlinable @inline(__always)
    func isSound(_ node: Int, level: Int) -> Bool {
        guard space.holds(node, BTreeFormat.firstKey, alignment: 8), space.read(node &+ BTreeFormat.nodeLevel) == level else { return false }
        let capacity = capacity(ofNode: node)
        guard count(ofNode: node) <= capacity else { return false }
        return level == 0
            ? (capacity == Self.leafCapacity || node == root && capacity > 0 && capacity < Self.leafCapacity) && space.holds(node, Self.leafSize(capacity: capacity), alignment: Self.nodeAlignment)
            : capacity == Self.innerCapacity && space.holds(node, Self.innerSize, alignment: Self.nodeAlignment)
    }

    @usableFromInline @inline(never)
    func damage(node: Int, level: Int) -> HeapError {
        space.damage(.sortedMap, at: header, "there is no node of level \(level) at offset \(node)")
    }

    /// Where a key is, or belongs.
    @frozen @usableFromInline
    struct Place {
        /// 0 where there is no node.
        @usableFromInline var leaf: Int
        @usableFromInline var slot: Int
        @usableFromInline var isFound: Bool

        @inlinable @inline(__always)
        init(leaf: Int, slot: Int, isFound: Bool) {
            self.leaf = leaf
            self.slot = slot
            self.isFound = isFound
        }
    }

    /// The child of an inner node that has a key, if the map does.
    @inlinable @inline(__always)
    func childSlot(_ node: Int, _ key: Key) -> Int {
        var low = 0
        var length = count(ofNode: node)
        while length > 0 {
            let half = length &>> 1
            let isBefore = key.order(ofStored: space.read(keyOffset(node, low &+ half)), in: space) <= 0
            low = isBefore ? low &+ half &+ 1 : low
            length = isBefore ? length &- half &- 1 : half
        }
        return low
    }

    /// The first slot of a leaf whose key is not ordered before this one.
    @inlinable @inline(__always)
    func leafSlot(_ leaf: Int, _ key: Key) -> Int {
        var low = 0
        var length = count(ofNode: leaf)
        while length > 0 {
            let half = length &>> 1
            let isBefore = key.order(ofStored: space.read(keyOffset(leaf, low &+ half)), in: space) < 0
            low = isBefore ? low &+ half &+ 1 : low
            length = isBefore ? length &- half &- 1 : half
        }
        return low
    }

    /// Searches a key.
    @inlinable @inline(__always)
    func locate(_ key: Key) -> Place {
        space.expect(.sortedMap, at: header)
        var node = root
        guard node != 0 else { return Place(leaf: 0, slot: 0, isFound: false) }
        var level = height &- 1
        while true {
            guard isSound(node, level: level) else {
                space.fail(damage(node: node, level: level))
                return Place(leaf: 0, slot: 0, isFound: false)
            }
            if level == 0 { break }
            node = space.read(childOffset(node, childSlot(node, key)))
            level &-= 1
        }
        let slot = leafSlot(node, key)
        let isFound = slot < count(ofNode: node) && key.order(ofStored: space.read(keyOffset(node, slot)), in: space) == 0
        return Place(leaf: node, slot: slot, isFound: isFound)
    }

    /// The leaf at the left or right edge; 0 where there is none.
    @inlinable
    func edgeLeaf(last: Bool) -> Int {
        space.expect(.sortedMap, at: header)
        var node = root
        guard node != 0 else { return 0 }
        var level = height &- 1
        while true {
            guard isSound(node, level: level) else {
                space.fail(damage(node: node, level: level))
                return 0
            }
            if level == 0 { return node }
            node = space.read(childOffset(node, last ? count(ofNode: node) : 0))
            level &-= 1
        }
    }

    /// The leaf beside one; 0 where there is none, and in a damaged map where its keys don't go on in order: so nobody goes round in
    /// circles.
    @inlinable
    func leafBeside(_ leaf: Int, _ field: Int) -> Int {
        let beside: Int = space.read(leaf &+ field)
        guard beside != 0 else { return 0 }
        guard isSound(beside, level: 0), count(ofNode: beside) > 0,
            field == BTreeFormat.nextLeaf ? isAscending(leaf, beside) : isAscending(beside, leaf)
        else {
            space.fail(damage(node: beside, level: 0))
            return 0
        }
        return beside
    }

    /// Whether all keys of a leaf come before those of another, if each leaf's own are in order.
    @inlinable
    func isAscending(_ left: Int, _ right: Int) -> Bool {
        let last = count(ofNode: left) &- 1
        return last < 0 || key(left, last).order(ofStored: space.read(keyOffset(right, 0)), in: space) > 0
    }

    /// Puts a value in the place of one; within the change that has found the place.
    @inlinable @inline(__always)
    func replaceValue(_ place: Place, with value: Value) throws(HeapError) {
        let offset = valueOffset(place.leaf, place.slot)
        if Value.ownsMemory {
            let old: Value.Stored = space.read(offset)
            if Value.isSame(value, as: old, in: space) { return }
            space.write(try Value.store(value, in: space), at: offset)
            try Value.release(old, in: space)
        } else {
            space.write(try Value.store(value, in: space), at: offset)
        }
    }

    /// Moves `count` pairs from one leaf to another, or within one.
    @inlinable @inline(__always)
    func movePairs(_ source: Int, _ from: Int, to target: Int, _ at: Int, count: Int) {
        space.copyBytes(from: keyOffset(source, from), to: keyOffset(target, at), byteCount: count &* Self.keyStride)
        space.copyBytes(from: valueOffset(source, from), to: valueOffset(target, at), byteCount: count &* Self.valueStride)
    }

    @inlinable
    func makeNode(level: Int, capacity: Int) throws(HeapError) -> Int {
        let node = try space.allocate(
            byteCount: level == 0 ? Self.leafSize(capacity: capacity) : Self.innerSize, alignment: Self.nodeAlignment)
        space.willWrite(node, BTreeFormat.firstKey)
        space.writeDeclared(0 as UInt32, at: node)
        space.writeDeclared(UInt32(truncatingIfNeeded: capacity), at: node &+ BTreeFormat.nodeCapacity)
        space.writeDeclared(level, at: node &+ BTreeFormat.nodeLevel)
        space.writeDeclared(0, at: node &+ BTreeFormat.nextLeaf)
        space.writeDeclared(0, at: node &+ BTreeFormat.previousLeaf)
        return node
    }
}
