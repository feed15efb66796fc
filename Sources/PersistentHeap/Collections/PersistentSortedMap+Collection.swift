extension PersistentSortedMap: BidirectionalCollection, PersistentKeyedCollection {
    public typealias Element = (key: Key, value: Value)

    /// Where a key is, until the map is changed.
    @frozen
    public struct Index: Comparable, Sendable {
        @usableFromInline let map: PersistentSortedMap
        /// 0 at the end.
        @usableFromInline var leaf: Int
        @usableFromInline var slot: Int

        @inlinable
        init(_ map: PersistentSortedMap, _ leaf: Int, _ slot: Int) {
            self.map = map
            self.leaf = leaf
            self.slot = slot
        }

        @inlinable
        public static func == (left: Index, right: Index) -> Bool { left.leaf == right.leaf && left.slot == right.slot }

        @inlinable
        public static func < (left: Index, right: Index) -> Bool {
            if left.leaf == right.leaf { return left.slot < right.slot }
            if left.leaf == 0 || right.leaf == 0 { return right.leaf == 0 }
            return left.map[right].key.order(ofStored: left.map.storedKey(left), in: left.map.space) < 0
        }
    }

    @inlinable
    func storedKey(_ index: Index) -> Key.Stored {
        checkIndex(index)
        return space.read(keyOffset(index.leaf, index.slot))
    }

    @inlinable @inline(__always)
    func checkIndex(_ index: Index) {
        space.expect(.sortedMap, at: header)
        precondition(
            index.leaf != 0 && isSound(index.leaf, level: 0) && UInt(bitPattern: index.slot) < UInt(bitPattern: count(ofNode: index.leaf)),
            "Index out of range")
    }

    @inlinable public var startIndex: Index { Index(self, edgeLeaf(last: false), 0) }

    @inlinable
    public var endIndex: Index {
        space.expect(.sortedMap, at: header)
        return Index(self, 0, 0)
    }

    @inlinable
    public func index(after index: Index) -> Index {
        checkIndex(index)
        if index.slot &+ 1 < count(ofNode: index.leaf) { return Index(self, index.leaf, index.slot &+ 1) }
        return Index(self, leafBeside(index.leaf, BTreeFormat.nextLeaf), 0)
    }

    @inlinable
    public func index(before index: Index) -> Index {
        if index.leaf != 0, index.slot > 0 { return Index(self, index.leaf, index.slot &- 1) }
        let leaf = index.leaf == 0 ? edgeLeaf(last: true) : leafBeside(index.leaf, BTreeFormat.previousLeaf)
        guard leaf != 0 else {
            precondition(index != startIndex, "There is no index before the first")
            // A damaged map, whose leaves don't lead back to the first.
            return startIndex
        }
        return Index(self, leaf, count(ofNode: leaf) &- 1)
    }

    @inlinable
    public subscript(index: Index) -> Element {
        checkIndex(index)
        return (key(index.leaf, index.slot), value(index.leaf, index.slot))
    }

    /// Where a key is; nil where it is not in the map. O(log *n*).
    @inlinable
    public func index(forKey key: Key) -> Index? {
        let place = locate(key)
        return place.isFound ? Index(self, place.leaf, place.slot) : nil
    }

    /// Where the first key is that is not less than this one, or the end. O(log *n*).
    @inlinable
    public func lowerBound(_ key: Key) -> Index {
        let place = locate(key)
        if place.leaf == 0 || place.slot < count(ofNode: place.leaf) { return Index(self, place.leaf, place.slot) }
        return Index(self, leafBeside(place.leaf, BTreeFormat.nextLeaf), 0)
    }

    /// Where the first key is that is greater than this one, or the end. O(log *n*).
    @inlinable
    public func upperBound(_ key: Key) -> Index {
        let place = locate(key)
        if place.isFound { return index(after: Index(self, place.leaf, place.slot)) }
        return lowerBound(key)
    }

    /// The pairs whose keys are in a range, in order: the map's, which for strings is that of their UTF-8, where Swift's own may
    /// be another.
    @inlinable
    public func entries(in range: Range<Key>) -> Slice<Self> {
        slice(from: lowerBound(range.lowerBound), to: lowerBound(range.upperBound))
    }

    /// The pairs whose keys are in a range, in order; as `entries(in:)` of a range without its end.
    @inlinable
    public func entries(in range: ClosedRange<Key>) -> Slice<Self> {
        slice(from: lowerBound(range.lowerBound), to: upperBound(range.upperBound))
    }

    /// Empty where the end comes first: what is a range in the order of `Comparable` may be none in the map's.
    @inlinable
    func slice(from start: Index, to end: Index) -> Slice<Self> { self[start..<(end < start ? start : end)] }

    /// The pairs whose keys are not less than one, in order.
    @inlinable
    public func entries(from key: Key) -> Slice<Self> { self[lowerBound(key)..<endIndex] }

    /// Reads the pairs in order. The map must not be changed meanwhile.
    @frozen
    public struct Iterator: IteratorProtocol {
        @usableFromInline let map: PersistentSortedMap
        @usableFromInline var leaf: Int
        @usableFromInline var slot = 0
        /// A damaged map may go round in circles.
        @usableFromInline var remaining: Int

        @inlinable
        init(_ map: PersistentSortedMap) {
            self.map = map
            leaf = map.edgeLeaf(last: false)
            remaining = map.count
        }

        @inlinable
        public mutating func next() -> Element? {
            guard leaf != 0, remaining > 0 else { return nil }
            remaining &-= 1
            if slot >= map.count(ofNode: leaf) {
                leaf = map.leafBeside(leaf, BTreeFormat.nextLeaf)
                slot = 0
                guard leaf != 0 else { return nil }
            }
            defer { slot &+= 1 }
            return (map.key(leaf, slot), map.value(leaf, slot))
        }
    }

    @inlinable public func makeIterator() -> Iterator { Iterator(self) }

    /// Believes no count: see `collected`.
    @inlinable public func _copyToContiguousArray() -> ContiguousArray<Element> { collected { $0 } }

    /// The keys in order.
    @frozen
    public struct Keys: BidirectionalCollection, PersistentKeyedCollection, Sendable {
        @usableFromInline let map: PersistentSortedMap

        @inlinable init(_ map: PersistentSortedMap) { self.map = map }
        @inlinable public var count: Int { map.count }
        @inlinable public var startIndex: Index { map.startIndex }
        @inlinable public var endIndex: Index { map.endIndex }
        @inlinable public func index(after index: Index) -> Index { map.index(after: index) }
        @inlinable public func index(before index: Index) -> Index { map.index(before: index) }
        @inlinable public subscript(index: Index) -> Key {
            map.checkIndex(index)
            return map.key(index.leaf, index.slot)
        }
        /// Believes no count: see `collected`.
        @inlinable public func _copyToContiguousArray() -> ContiguousArray<Key> { map.collected(\.key) }

        /// Whether a key is there. O(log *n*).
        @inlinable public func contains(_ key: Key) -> Bool { map.contains(key) }
    }

    /// The values in the order of the keys.
    @frozen
    public struct Values: BidirectionalCollection, PersistentKeyedCollection, Sendable {
        @usableFromInline let map: PersistentSortedMap

        @inlinable init(_ map: PersistentSortedMap) { self.map = map }
        @inlinable public var count: Int { map.count }
        @inlinable public var startIndex: Index { map.startIndex }
        @inlinable public var endIndex: Index { map.endIndex }
        @inlinable public func index(after index: Index) -> Index { map.index(after: index) }
        @inlinable public func index(before index: Index) -> Index { map.index(before: index) }
        @inlinable public subscript(index: Index) -> Value {
            map.checkIndex(index)
            return map.value(index.leaf, index.slot)
        }
        /// Believes no count: see `collected`.
        @inlinable public func _copyToContiguousArray() -> ContiguousArray<Value> { map.collected(\.value) }
    }

    @inlinable public var keys: Keys { Keys(self) }
    @inlinable public var values: Values { Values(self) }

    /// Whether a key is there. O(log *n*); its value is not read.
    @inlinable
    public func contains(_ key: Key) -> Bool { locate(key).isFound }
}

extension PersistentSortedMap: CustomStringConvertible {
    public var description: String { isEmpty ? "[:]" : "[" + lazy.map { "\(String(reflecting: $0.key)): \(String(reflecting: $0.value))" }.joined(separator: ", ") + "]" }
}

extension PersistentSortedMap: PersistentContainer {
    public static var layout: TypeLayout {
        TypeLayout(ContainerHandle.self, name: "PersistentSortedMap", parameters: [Key.layout, Value.layout])
    }

    @inlinable public static var ownsMemory: Bool { true }

    @inlinable
    public static func create(in space: HeapSpace) throws(HeapError) -> Self { try Self(in: space) }

    @inlinable
    public static func store(_ value: Self, in space: HeapSpace) throws(HeapError) -> ContainerHandle {
        try space.adopt(.sortedMap, at: value.header, of: value.space)
        return ContainerHandle(offset: value.header)
    }

    /// The map that lies there. One that a damaged heap describes wrongly reads as empty, and is reported to the heap.
    @inlinable
    public static func load(_ stored: ContainerHandle, in space: HeapSpace) -> Self {
        do throws(HeapError) { return try Self(validating: stored, in: space) } catch {
            space.fail(error)
            return Self(header: space.detachedHeader(.sortedMap), in: space)
        }
    }

    /// The map that lies there.
    ///
    /// - Throws: `.damaged` where what is there can't be such a map.
    @inlinable
    public init(validating handle: ContainerHandle, in space: HeapSpace) throws(HeapError) {
        let header = handle.offset
        try space.validateHeader(.sortedMap, at: header, byteCount: BTreeFormat.headerSize)
        let height: UInt32 = space.read(header &+ BTreeFormat.height)
        let root: Int = space.read(header &+ BTreeFormat.root)
        guard space.count(at: header) >= 0, height <= BTreeFormat.maximumHeight, (root == 0) == (height == 0),
            space.count(at: header) <= Self.mostKeys(height: Int(height), in: space),
            space.read(header &+ BTreeFormat.keyStride) == UInt32(Self.keyStride),
            space.read(header &+ BTreeFormat.valueStride) == UInt32(Self.valueStride),
            space.read(header &+ BTreeFormat.valueAlignment) == UInt32(Self.valueAlignment)
        else {
            throw space.damage(.sortedMap, at: header, "\(space.count(at: header)) keys in \(height) levels of nodes below offset \(root)")
        }
        self.init(header: header, in: space)
    }

    /// How many keys levels of full nodes have, as far as there is room for them in the heap: a damaged count should make
    /// nobody reserve memory for it.
    @inlinable
    static func mostKeys(height: Int, in space: HeapSpace) -> Int {
        let most = space.byteCount / (keyStride &+ valueStride)
        guard height > 0 else { return 0 }
        var count = leafCapacity
        for _ in 1..<height {
            guard count < most else { return most }
            count = count &* (innerCapacity &+ 1)
        }
        return Swift.min(count, most)
    }

    /// Frees the map with all that it holds. No value that shows it may be used afterwards.
    @inlinable
    public func release() throws(HeapError) { try Self.release(ContainerHandle(offset: header), in: space) }

    @inlinable
    public static func release(_ stored: ContainerHandle, in space: HeapSpace) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let map = try Self(validating: stored, in: space)
        try map.removeAll()
        space.write(0 as UInt32, at: stored.offset)
        try space.free(stored.offset)
    }
}
