public import Glibc

/// What differs between two states of a collection with keys.
public struct KeyedChanges<Key, Value> {
    /// Pairs whose keys are in the newer state only.
    public var added: [(key: Key, value: Value)] = []
    /// Pairs whose keys were in the older state only.
    public var removed: [(key: Key, value: Value)] = []
    /// Keys that are in both, under unequal values.
    public var changed: [(key: Key, old: Value, new: Value)] = []

    @inlinable public init() {}

    /// Whether the states are equal.
    @inlinable public var isEmpty: Bool { added.isEmpty && removed.isEmpty && changed.isEmpty }
}

/// What differs between two states of an array, place by place.
public struct IndexedChanges<Element> {
    /// Elements at the same index that are not equal.
    public var changed: [(index: Int, old: Element, new: Element)] = []
    /// Elements of the newer state beyond the older one's end.
    public var added: [Element] = []
    /// Elements of the older state beyond the newer one's end.
    public var removed: [Element] = []

    @inlinable public init() {}

    /// Whether the states are equal.
    @inlinable public var isEmpty: Bool { added.isEmpty && removed.isEmpty && changed.isEmpty }
}

extension HeapSpace {
    /// Whether a range holds the same bytes in this heap and in another state of it.
    @inlinable
    func isEqual(to other: HeapSpace, _ offset: Int, _ byteCount: Int) -> Bool {
        memcmp(base + offset, other.base + offset, byteCount) == 0
    }
}

extension PersistentArray where Element: Equatable {
    /// What differs from another array, place by place: of a snapshot, say. O(*n*).
    ///
    /// `difference(from:)`, which all ordered collections have, finds insertions and removals instead.
    @inlinable
    public func changes(from old: Self) -> IndexedChanges<Element> {
        var changes = IndexedChanges<Element>()
        let common = Swift.min(count, old.count)
        for index in 0..<common {
            let (before, after) = (old[index], self[index])
            if before != after { changes.changed.append((index, before, after)) }
        }
        changes.added = Array(self[common...])
        changes.removed = Array(old[common...])
        return changes
    }
}

extension PersistentDictionary {
    /// Whether a segment of this dictionary is one of the other too, with the same bytes, which are all that there is to it.
    @inlinable
    func shares(_ segment: HashTableFormat.Entry, at index: Int, with other: Self) -> Bool {
        !Key.ownsMemory && !Value.ownsMemory && depth == other.depth && other.entry(index).bits == segment.bits
            && other.isSound(segment) && space.isEqual(to: other.space, segment.offset, Self.chunkStride &<< segment.chunkShift)
    }

    /// Calls `body` with the slot of each key, but for those of segments that are the same in the other dictionary.
    @inlinable
    func forEachSlot(unsharedWith other: Self, _ body: (Int) -> Void) throws(HeapError) {
        let canShare = space.read(header &+ HashTableFormat.seed, as: UInt64.self)
            == other.space.read(other.header &+ HashTableFormat.seed, as: UInt64.self)
        var index = 0
        try forEachSegment { segment throws(HeapError) in
            while entry(index).bits != segment.bits { index &+= 1 }
            if canShare, shares(segment, at: index, with: other) { return }
            try forEachSlot(of: segment) { slot throws(HeapError) in body(slot) }
        }
    }

    /// What differs from another dictionary: of a snapshot, say.
    ///
    /// O(*n*). Between two states of one dictionary whose keys and values own no memory, what did not change is compared at the
    /// speed of memory.
    /// - Throws: `.damaged` where a dictionary contradicts itself.
    @inlinable
    public func changes(
        from old: Self, by areEqual: (Value, Value) -> Bool
    ) throws(HeapError) -> KeyedChanges<Key, Value> {
        space.expect(.dictionary, at: header)
        old.space.expect(.dictionary, at: old.header)
        var changes = KeyedChanges<Key, Value>()
        try forEachSlot(unsharedWith: old) { slot in
            let key = key(at: slot)
            let new = value(at: slot)
            if let before = old[key] {
                if !areEqual(before, new) { changes.changed.append((key, before, new)) }
            } else {
                changes.added.append((key, new))
            }
        }
        try old.forEachSlot(unsharedWith: self) { slot in
            let key = old.key(at: slot)
            if !contains(key) { changes.removed.append((key, old.value(at: slot))) }
        }
        return changes
    }
}

extension PersistentDictionary where Value: Equatable {
    /// What differs from another dictionary: of a snapshot, say. As the other `changes(from:by:)`, with `==`.
    @inlinable
    public func changes(from old: Self) throws(HeapError) -> KeyedChanges<Key, Value> { try changes(from: old, by: ==) }
}

extension PersistentDictionary: Equatable where Value: Equatable {
    /// Whether both have the same keys with equal values; they may lie in different heaps and versions. O(*n*).
    @inlinable
    public static func == (left: Self, right: Self) -> Bool {
        left.count == right.count && left.allSatisfy { pair in right[pair.key] == pair.value }
    }
}

extension PersistentSet {
    /// The members that are in this set and not in the other, and those that are in the other only. O(*n*).
    @inlinable
    public func changes(from old: Self) throws(HeapError) -> (added: [Member], removed: [Member]) {
        let changes = try table.changes(from: old.table)
        return (changes.added.map(\.key), changes.removed.map(\.key))
    }
}

extension PersistentSet: Equatable {
    /// Whether both have the same members; they may lie in different heaps and versions. O(*n*).
    @inlinable
    public static func == (left: Self, right: Self) -> Bool { left.table == right.table }
}

extension PersistentSortedMap {
    /// Whether a leaf is the same in another state of this map, and its bytes are all that there is to it.
    @inlinable
    func shares(_ leaf: Int, with old: Self) -> Bool {
        !Key.ownsMemory && !Value.ownsMemory && space !== old.space && old.isSound(leaf, level: 0)
            && space.isEqual(to: old.space, leaf, Self.leafSize(capacity: capacity(ofNode: leaf)))
    }

    /// What differs from another map: of a snapshot, say.
    ///
    /// O(*n*). Between two states of one map whose keys and values own no memory, leaves that did not change are compared at the
    /// speed of memory.
    @inlinable
    public func changes(from old: Self, by areEqual: (Value, Value) -> Bool) -> KeyedChanges<Key, Value> {
        var changes = KeyedChanges<Key, Value>()
        var (before, after) = (old.startIndex, startIndex)
        while before.leaf != 0, after.leaf != 0 {
            if before.leaf == after.leaf, before.slot == 0, after.slot == 0, shares(after.leaf, with: old) {
                before = Index(old, old.leafBeside(before.leaf, BTreeFormat.nextLeaf), 0)
                after = Index(self, leafBeside(after.leaf, BTreeFormat.nextLeaf), 0)
                continue
            }
            let (was, now) = (old[before], self[after])
            let order = now.key.order(ofStored: old.storedKey(before), in: old.space)
            if order < 0 {
                changes.removed.append(was)
                before = old.index(after: before)
            } else if order > 0 {
                changes.added.append(now)
                after = index(after: after)
            } else {
                if !areEqual(was.value, now.value) { changes.changed.append((now.key, was.value, now.value)) }
                before = old.index(after: before)
                after = index(after: after)
            }
        }
        while before.leaf != 0 {
            changes.removed.append(old[before])
            before = old.index(after: before)
        }
        while after.leaf != 0 {
            changes.added.append(self[after])
            after = index(after: after)
        }
        return changes
    }
}

extension PersistentSortedMap where Value: Equatable {
    /// What differs from another map: of a snapshot, say. As the other `changes(from:by:)`, with `==`.
    @inlinable
    public func changes(from old: Self) -> KeyedChanges<Key, Value> { changes(from: old, by: ==) }
}

extension PersistentSortedMap: Equatable where Value: Equatable {
    /// Whether both have the same keys with equal values; they may lie in different heaps and versions. O(*n*).
    @inlinable
    public static func == (left: Self, right: Self) -> Bool {
        left.count == right.count && left.elementsEqual(right) { $0.key == $1.key && $0.value == $1.value }
    }
}
