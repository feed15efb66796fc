extension PersistentDictionary: PersistentKeyedCollection {
    public typealias Element = (key: Key, value: Value)

    /// Where a key is, until the dictionary is changed.
    @frozen
    public struct Index: Comparable, Hashable, Sendable {
        /// The first entry of the directory that names the segment.
        @usableFromInline var entry: Int
        @usableFromInline var chunk: Int
        @usableFromInline var lane: Int

        @inlinable
        init(entry: Int, chunk: Int, lane: Int) {
            self.entry = entry
            self.chunk = chunk
            self.lane = lane
        }

        @inlinable
        public static func < (left: Index, right: Index) -> Bool {
            (left.entry, left.chunk, left.lane) < (right.entry, right.chunk, right.lane)
        }
    }

    @inlinable
    public var startIndex: Index {
        space.expect(.dictionary, at: header)
        return first(from: Index(entry: 0, chunk: 0, lane: 0))
    }

    @inlinable
    public var endIndex: Index {
        space.expect(.dictionary, at: header)
        return Index(entry: 1 &<< depth, chunk: 0, lane: 0)
    }

    @inlinable
    public func index(after index: Index) -> Index {
        first(from: Index(entry: index.entry, chunk: index.chunk, lane: index.lane &+ 1))
    }

    /// The first place at or after one that has a key.
    @inlinable
    func first(from index: Index) -> Index {
        var index = index
        let depth = depth
        while index.entry < 1 &<< depth {
            let segment = entry(index.entry)
            guard isSound(segment), segment.localDepth <= depth else {
                if segment.bits != 0 { space.fail(damage(segment)) }
                index = Index(entry: index.entry &+ 1, chunk: 0, lane: 0)
                continue
            }
            while index.chunk < segment.chunkCount {
                let chunk = segment.offset &+ index.chunk &* Self.chunkStride
                while index.lane < HashTableFormat.slotsPerChunk {
                    if space.read(chunk &+ index.lane, as: UInt8.self) != 0 { return index }
                    index.lane &+= 1
                }
                index.chunk &+= 1
                index.lane = 0
            }
            index = Index(entry: (index.entry | (1 &<< (depth &- segment.localDepth) &- 1)) &+ 1, chunk: 0, lane: 0)
        }
        return Index(entry: 1 &<< depth, chunk: 0, lane: 0)
    }

    /// Where the slot of an index is.
    @inlinable
    func place(of index: Index) -> HashTableFormat.Place {
        precondition(index.entry >= 0 && index.entry < 1 &<< depth, "Index out of range")
        let segment = entry(index.entry)
        precondition(
            isSound(segment) && index.chunk < segment.chunkCount && index.lane < HashTableFormat.slotsPerChunk, "Index out of range")
        let chunk = segment.offset &+ index.chunk &* Self.chunkStride
        precondition(space.read(chunk &+ index.lane, as: UInt8.self) != 0, "The index is of a key that is no longer there")
        return HashTableFormat.Place(
            chunk: chunk, lane: index.lane, slot: chunk &+ Self.firstSlot &+ index.lane &* Self.slotStride, passed: 0)
    }

    @inlinable
    public subscript(index: Index) -> Element {
        space.expect(.dictionary, at: header)
        let slot = place(of: index).slot
        return (key(at: slot), value(at: slot))
    }

    /// Where a key is; nil where it is not in the dictionary.
    @inlinable
    public func index(forKey key: Key) -> Index? {
        let hash = hash(of: key)
        let place = locate(key, hash: hash)
        guard place.isFound, let segment = segment(for: hash) else { return nil }
        let entry = directoryIndex(hash) & ~(1 &<< (depth &- segment.localDepth) &- 1)
        return Index(entry: entry, chunk: (place.chunk &- segment.offset) / Self.chunkStride, lane: place.lane)
    }

    /// Reads the pairs. The dictionary must not be changed meanwhile.
    @frozen
    public struct Iterator: IteratorProtocol {
        @usableFromInline let dictionary: PersistentDictionary
        @usableFromInline var index: Index

        @inlinable
        init(_ dictionary: PersistentDictionary) {
            self.dictionary = dictionary
            index = Index(entry: 0, chunk: 0, lane: -1)
        }

        /// The next slot that has a key, or 0.
        @inlinable
        mutating func nextSlot() -> Int {
            index = dictionary.index(after: index)
            return index.entry < 1 &<< dictionary.depth ? dictionary.place(of: index).slot : 0
        }

        @inlinable
        public mutating func next() -> Element? {
            let slot = nextSlot()
            return slot == 0 ? nil : (dictionary.key(at: slot), dictionary.value(at: slot))
        }
    }

    @inlinable
    public func makeIterator() -> Iterator {
        space.expect(.dictionary, at: header)
        return Iterator(self)
    }

    /// Believes no count: see `collected`.
    @inlinable public func _copyToContiguousArray() -> ContiguousArray<Element> { collected { $0 } }

    /// The keys.
    @frozen
    public struct Keys: PersistentKeyedCollection, Sendable {
        @usableFromInline let dictionary: PersistentDictionary

        @inlinable init(_ dictionary: PersistentDictionary) { self.dictionary = dictionary }
        @inlinable public var count: Int { dictionary.count }
        @inlinable public var startIndex: Index { dictionary.startIndex }
        @inlinable public var endIndex: Index { dictionary.endIndex }
        @inlinable public func index(after index: Index) -> Index { dictionary.index(after: index) }
        @inlinable public subscript(index: Index) -> Key { dictionary.key(at: dictionary.place(of: index).slot) }
        /// Believes no count: see `collected`.
        @inlinable public func _copyToContiguousArray() -> ContiguousArray<Key> { dictionary.collected(\.key) }

        /// Whether a key is there. O(1), expected.
        @inlinable public func contains(_ key: Key) -> Bool { dictionary.contains(key) }
    }

    /// The values, in the order of the keys.
    @frozen
    public struct Values: PersistentKeyedCollection, Sendable {
        @usableFromInline let dictionary: PersistentDictionary

        @inlinable init(_ dictionary: PersistentDictionary) { self.dictionary = dictionary }
        @inlinable public var count: Int { dictionary.count }
        @inlinable public var startIndex: Index { dictionary.startIndex }
        @inlinable public var endIndex: Index { dictionary.endIndex }
        @inlinable public func index(after index: Index) -> Index { dictionary.index(after: index) }
        @inlinable public subscript(index: Index) -> Value { dictionary.value(at: dictionary.place(of: index).slot) }
        /// Believes no count: see `collected`.
        @inlinable public func _copyToContiguousArray() -> ContiguousArray<Value> { dictionary.collected(\.value) }
    }

    @inlinable public var keys: Keys { Keys(self) }
    @inlinable public var values: Values { Values(self) }

    /// Whether a key is there. O(1), expected; its value is not read.
    @inlinable
    public func contains(_ key: Key) -> Bool { locate(key, hash: hash(of: key)).isFound }

    /// Takes a key out and releases it and its value.
    @inlinable
    public func remove(at index: Index) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        try remove(self[index].key)
    }

    /// Takes out and releases the pairs for which `body` says so. O(*n*).
    @inlinable
    public func removeAll(where body: (Element) throws -> Bool) throws {
        space.beginChange()
        defer { space.endChange() }
        for key in try filter(body).map(\.key) { try remove(key) }
    }
}

extension PersistentDictionary: CustomStringConvertible {
    public var description: String { isEmpty ? "[:]" : "[" + lazy.map { "\(String(reflecting: $0.key)): \(String(reflecting: $0.value))" }.joined(separator: ", ") + "]" }
}
