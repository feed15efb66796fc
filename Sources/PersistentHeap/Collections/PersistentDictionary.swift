/// A dictionary in a heap: a hash table that grows a piece at a time.
///
///     let words = try heap.dictionary("words", String.self, Int.self)
///     words["heap", default: 0] += 1
///     try heap.commit()
///
/// A value of this type shows the dictionary that lies in the heap, as all its copies do: changing one changes them all. It has
/// the dictionary's heap in it, and is as small as two numbers.
///
/// - **Keys** hash by `PersistentHashable`: alike in every process. Strings are the same key where their UTF-8 bytes are.
/// - **Ownership.** The dictionary owns its keys and values: what is removed or replaced is released at once, nested collections
///   with all that they hold. A dictionary that no collection and no root holds is yours to `release`.
/// - **Errors.** What needs memory throws `.full` where the heap has none left, and changes nothing. A setter can't throw: where
///   it fails, the value stays as it was, and the heap keeps the error for its next commit, which throws it.
/// - **Threads.** One thread may change a heap at a time, and nobody read it meanwhile. Snapshots are read by any number.
///
/// Look-up, update, insertion and removal take O(1), expected; no insertion moves more than a segment of about 32 KiB, so
/// that a commit after a few insertions writes few pages, however large the dictionary is. The order of the elements is none,
/// but stays the same until the dictionary is changed.
@frozen
public struct PersistentDictionary<Key: PersistentHashable, Value: PersistentValue>: Sendable {
    /// The heap.
    public let space: HeapSpace
    /// The header block's offset: see `HashTableFormat`.
    @usableFromInline let header: Int

    @inlinable
    init(header: Int, in space: HeapSpace) {
        self.space = space
        self.header = header
    }

    /// Makes an empty dictionary that nobody owns yet: store it in a collection, or `release` it.
    ///
    /// - Throws: `.full` where the heap has no room, `.readOnly` where it is a past state.
    @inlinable
    public init(in space: HeapSpace) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let header = try space.allocate(byteCount: HashTableFormat.headerSize, alignment: 8)
        space.zeroBytes(header, HashTableFormat.headerSize)
        space.writeDeclared(ContainerKind.dictionary.rawValue, at: header)
        space.writeDeclared(UInt64.random(in: 1...UInt64.max), at: header &+ HashTableFormat.seed)
        space.writeDeclared(header &+ HashTableFormat.onlyEntry, at: header &+ HashTableFormat.directory)
        space.writeDeclared(UInt32(Self.slotStride), at: header &+ HashTableFormat.slotStride)
        space.writeDeclared(UInt32(Self.valueOffset), at: header &+ HashTableFormat.valueOffset)
        self.init(header: header, in: space)
    }

    /// How many keys there are.
    @inlinable
    public var count: Int {
        space.expect(.dictionary, at: header)
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
            let place = locate(key, hash: hash(of: key))
            return place.isFound ? value(at: place.slot) : nil
        }
        nonmutating set {
            do throws(HeapError) {
                if let newValue { try setValue(newValue, forKey: key) } else { try remove(key) }
            } catch { space.fail(error) }
        }
    }

    /// Puts a value under a key, and releases what was there.
    ///
    /// - Throws: `.full` where the heap has no room: the dictionary is as it was.
    @inlinable
    public func setValue(_ value: Value, forKey key: Key) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let hash = hash(of: key)
        let place = locate(key, hash: hash)
        if place.isFound {
            try replaceValue(at: place.slot, with: value)
        } else {
            try insertNew(key, value, hash: hash)
        }
    }

    /// Takes a key out, and releases it and its value.
    ///
    /// - Returns: Whether it was there.
    @inlinable @discardableResult
    public func remove(_ key: Key) throws(HeapError) -> Bool {
        space.beginChange()
        defer { space.endChange() }
        let hash = hash(of: key)
        let place = locate(key, hash: hash)
        guard place.isFound else { return false }
        try removeSlot(place, hash: hash)
        return true
    }

    /// Takes out and releases all keys and values. With `keepingCapacity`, the memory stays the dictionary's.
    ///
    /// O(*n*) where keys or values own memory, else as many steps as there is memory to empty or free.
    @inlinable
    public func removeAll(keepingCapacity: Bool = false) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        guard count > 0 || !keepingCapacity else { return }
        guard segmentCount > 0 else { return }
        try releaseElements()
        space.write(0, at: header &+ 8)
        if keepingCapacity { try emptyTable() } else { try freeTable() }
    }

    /// Makes room for this many keys in all, so that few of the insertions up to there need memory for the table.
    ///
    /// - Throws: `.full` where the heap has no such room; the dictionary is as it was.
    @inlinable
    public func reserveCapacity(_ minimum: Int) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        if minimum > count, minimum > slotCount / 4 * 3 { try rebuild(for: minimum) }
    }

    /// Gives back what memory the table does not need for the keys it has. O(*n*).
    ///
    /// - Throws: `.full` where the heap has no room for the smaller table beside the larger; the dictionary is as it was.
    @inlinable
    public func shrink() throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        try rebuild(for: count)
    }
}

extension PersistentDictionary where Value: PersistentLeaf {
    /// Puts a value under a key.
    ///
    /// - Returns: The value that was there, or nil.
    /// - Throws: `.full` where the heap has no room: the dictionary is as it was.
    @inlinable @discardableResult
    public func updateValue(_ value: Value, forKey key: Key) throws(HeapError) -> Value? {
        space.beginChange()
        defer { space.endChange() }
        let hash = hash(of: key)
        let place = locate(key, hash: hash)
        guard place.isFound else {
            try insertNew(key, value, hash: hash)
            return nil
        }
        let old = self.value(at: place.slot)
        try replaceValue(at: place.slot, with: value)
        return old
    }

    /// Takes a key out.
    ///
    /// - Returns: The value that was there, or nil.
    @inlinable @discardableResult
    public func removeValue(forKey key: Key) throws(HeapError) -> Value? {
        space.beginChange()
        defer { space.endChange() }
        let hash = hash(of: key)
        let place = locate(key, hash: hash)
        guard place.isFound else { return nil }
        let old = value(at: place.slot)
        try removeSlot(place, hash: hash)
        return old
    }

    /// The value under a key, or the default, which the setter puts there.
    @inlinable
    public subscript(key: Key, default defaultValue: @autoclosure () -> Value) -> Value {
        get { self[key] ?? defaultValue() }
        nonmutating _modify {
            space.beginChange()
            defer { space.endChange() }
            let hash = hash(of: key)
            let place = locate(key, hash: hash)
            var value = place.isFound ? self.value(at: place.slot) : defaultValue()
            defer {
                do throws(HeapError) {
                    // What was done with the value may have moved the slots.
                    if place.isFound, locate(key, hash: hash).slot == place.slot {
                        try replaceValue(at: place.slot, with: value)
                    } else {
                        try setValue(value, forKey: key)
                    }
                } catch { space.fail(error) }
            }
            yield &value
        }
    }

    /// Puts the pairs of a sequence in; where a key is there, `combine` says what of the value there and the new one.
    @inlinable
    public func merge(
        _ pairs: some Sequence<(Key, Value)>, uniquingKeysWith combine: (Value, Value) throws -> Value
    ) throws {
        for (key, value) in pairs {
            space.beginChange()
            defer { space.endChange() }
            let hash = hash(of: key)
            let place = locate(key, hash: hash)
            if place.isFound {
                try setValue(combine(self.value(at: place.slot), value), forKey: key)
            } else {
                try insertNew(key, value, hash: hash)
            }
        }
    }
}

extension PersistentDictionary where Value: PersistentContainer {
    /// The collection under a key; an empty one is made there where none is.
    ///
    ///     try pages.collection(forKey: word).append(page)
    ///
    /// - Throws: `.full` where the heap has no room.
    @inlinable
    public func collection(forKey key: Key) throws(HeapError) -> Value {
        space.beginChange()
        defer { space.endChange() }
        let hash = hash(of: key)
        let place = locate(key, hash: hash)
        if place.isFound { return value(at: place.slot) }
        let value = try Value.create(in: space)
        do throws(HeapError) { try insertNew(key, value, hash: hash) } catch {
            try value.release()
            throw error
        }
        return value
    }
}
