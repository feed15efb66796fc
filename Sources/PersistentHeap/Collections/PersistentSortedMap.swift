/// A map in a heap whose keys are kept in order: a B+tree with nodes of a page.
///
///     let prices = try heap.sortedMap("prices", Int.self, Double.self)
///     prices[20260131] = 17.5
///     for (day, price) in prices.entries(in: 20260101..<20260201) { … }
///
/// A value of this type shows the map that lies in the heap, as all its copies do: changing one changes them all. It has the
/// map's heap in it, and is as small as two numbers.
///
/// - **Keys** are ordered by `PersistentComparable`. Strings are ordered by their UTF-8 bytes.
/// - **Ownership.** The map owns its keys and values: what is removed or replaced is released at once, nested collections with
///   all that they hold. A map that no collection and no root holds is yours to `release`.
/// - **Errors.** What needs memory throws `.full` where the heap has none left, and changes nothing. A setter can't throw: where
///   it fails, the value stays as it was, and the heap keeps the error for its next commit, which throws it.
/// - **Threads.** One thread may change a heap at a time, and nobody read it meanwhile. Snapshots are read by any number.
///
/// Look-up, update, insertion and removal take O(log *n*); going from one key to the next O(1). An insertion or a removal
/// writes a page or two, and a few more each time that a node is split or merged. Keys that come in ascending order fill the
/// nodes.
@frozen
public struct PersistentSortedMap<Key: PersistentComparable, Value: PersistentValue>: Sendable {
    /// The heap.
    public let space: HeapSpace
    /// The header block's offset: see `BTreeFormat`.
    @usableFromInline let header: Int

    @inlinable
    init(header: Int, in space: HeapSpace) {
        self.space = space
        self.header = header
    }

    /// Makes an empty map that nobody owns yet: store it in a collection, or `release` it.
    ///
    /// - Throws: `.full` where the heap has no room, `.readOnly` where it is a past state.
    @inlinable
    public init(in space: HeapSpace) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let header = try space.allocate(byteCount: BTreeFormat.headerSize, alignment: 8)
        space.zeroBytes(header, BTreeFormat.headerSize)
        space.writeDeclared(ContainerKind.sortedMap.rawValue, at: header)
        space.writeDeclared(UInt32(Self.keyStride), at: header &+ BTreeFormat.keyStride)
        space.writeDeclared(UInt32(Self.valueStride), at: header &+ BTreeFormat.valueStride)
        space.writeDeclared(UInt32(Self.valueAlignment), at: header &+ BTreeFormat.valueAlignment)
        self.init(header: header, in: space)
    }

    /// How many keys there are.
    @inlinable
    public var count: Int {
        space.expect(.sortedMap, at: header)
        return space.count(at: header)
    }

    @inlinable public var isEmpty: Bool { count == 0 }

    /// The value under a key, or nil.
    ///
    /// Setting nil removes the key. The setter releases what was there; where it fails, the heap keeps the error for its next
    /// commit.
    @inlinable
    public subscript(key: Key) -> Value? {
        get {
            let place = locate(key)
            return place.isFound ? value(place.leaf, place.slot) : nil
        }
        nonmutating set {
            do throws(HeapError) {
                if let newValue { try setValue(newValue, forKey: key) } else { try remove(key) }
            } catch { space.fail(error) }
        }
    }

    /// Puts a value under a key, and releases what was there.
    ///
    /// - Throws: `.full` where the heap has no room: the map's pairs are as they were.
    @inlinable
    public func setValue(_ value: Value, forKey key: Key) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let place = locate(key)
        if place.isFound { try replaceValue(place, with: value) } else { try insertNew(key, value, at: place) }
    }

    /// Takes a key out, and releases it and its value.
    ///
    /// - Returns: Whether it was there.
    @inlinable @discardableResult
    public func remove(_ key: Key) throws(HeapError) -> Bool {
        space.beginChange()
        defer { space.endChange() }
        let place = locate(key)
        guard place.isFound else { return false }
        try removePair(place, key)
        return true
    }

    /// Takes out and releases all keys and values. O(*n*) where keys or values own memory, else as many steps as nodes.
    @inlinable
    public func removeAll() throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        space.expect(.sortedMap, at: header)
        let root = root
        guard root != 0 else { return }
        try releaseNode(root, level: height &- 1)
        space.write(0, at: header &+ 8)
        space.write(0, at: header &+ BTreeFormat.root)
        space.write(0 as UInt32, at: header &+ BTreeFormat.height)
    }
}

extension PersistentSortedMap where Value: PersistentLeaf {
    /// Puts a value under a key.
    ///
    /// - Returns: The value that was there, or nil.
    /// - Throws: `.full` where the heap has no room: the map's pairs are as they were.
    @inlinable @discardableResult
    public func updateValue(_ value: Value, forKey key: Key) throws(HeapError) -> Value? {
        space.beginChange()
        defer { space.endChange() }
        let place = locate(key)
        guard place.isFound else {
            try insertNew(key, value, at: place)
            return nil
        }
        let old = self.value(place.leaf, place.slot)
        try replaceValue(place, with: value)
        return old
    }

    /// Takes a key out.
    ///
    /// - Returns: The value that was there, or nil.
    @inlinable @discardableResult
    public func removeValue(forKey key: Key) throws(HeapError) -> Value? {
        space.beginChange()
        defer { space.endChange() }
        let place = locate(key)
        guard place.isFound else { return nil }
        let old = value(place.leaf, place.slot)
        try removePair(place, key)
        return old
    }

    /// The value under a key, or the default, which the setter puts there.
    @inlinable
    public subscript(key: Key, default defaultValue: @autoclosure () -> Value) -> Value {
        get { self[key] ?? defaultValue() }
        nonmutating _modify {
            space.beginChange()
            defer { space.endChange() }
            let place = locate(key)
            var value = place.isFound ? self.value(place.leaf, place.slot) : defaultValue()
            defer { do throws(HeapError) { try setValue(value, forKey: key) } catch { space.fail(error) } }
            yield &value
        }
    }

    /// Takes the first pair out, where there is one.
    @inlinable
    public func popFirst() throws(HeapError) -> Element? {
        space.beginChange()
        defer { space.endChange() }
        guard let first else { return nil }
        try remove(first.key)
        return first
    }

    /// Takes the last pair out, where there is one.
    @inlinable
    public func popLast() throws(HeapError) -> Element? {
        space.beginChange()
        defer { space.endChange() }
        guard let last else { return nil }
        try remove(last.key)
        return last
    }
}

extension PersistentSortedMap where Value: PersistentContainer {
    /// The collection under a key; an empty one is made there where none is.
    ///
    /// - Throws: `.full` where the heap has no room.
    @inlinable
    public func collection(forKey key: Key) throws(HeapError) -> Value {
        space.beginChange()
        defer { space.endChange() }
        let place = locate(key)
        if place.isFound { return value(place.leaf, place.slot) }
        let value = try Value.create(in: space)
        do throws(HeapError) { try insertNew(key, value, at: place) } catch {
            try value.release()
            throw error
        }
        return value
    }
}
