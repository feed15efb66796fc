/// What a set keeps beside its members.
@frozen
public struct NoValue: Persistable, PersistentLeaf, Equatable {
    @inlinable public init() {}
    public static var layout: TypeLayout { TypeLayout(scalar: NoValue.self) }
}

/// A set in a heap: a `PersistentDictionary` of keys alone, which says what holds of hashing, ownership, errors and threads.
///
///     let seen = try heap.set("seen", of: String.self)
///     try seen.insert("heap")
///
/// Looking for a member, inserting and removing one take O(1), expected.
@frozen
public struct PersistentSet<Member: PersistentHashable>: Sendable {
    @usableFromInline let table: PersistentDictionary<Member, NoValue>

    @inlinable init(table: PersistentDictionary<Member, NoValue>) { self.table = table }

    /// The heap.
    @inlinable public var space: HeapSpace { table.space }

    /// Makes an empty set that nobody owns yet: store it in a collection, or `release` it.
    ///
    /// - Throws: `.full` where the heap has no room, `.readOnly` where it is a past state.
    @inlinable
    public init(in space: HeapSpace) throws(HeapError) { table = try PersistentDictionary(in: space) }

    /// How many members there are.
    @inlinable public var count: Int { table.count }
    @inlinable public var isEmpty: Bool { table.isEmpty }

    /// Whether a member is there.
    @inlinable public func contains(_ member: Member) -> Bool { table.contains(member) }

    /// Puts a member in.
    ///
    /// - Returns: Whether it was not there before.
    /// - Throws: `.full` where the heap has no room: the set is as it was.
    @inlinable @discardableResult
    public func insert(_ member: Member) throws(HeapError) -> Bool {
        space.beginChange()
        defer { space.endChange() }
        let hash = table.hash(of: member)
        if table.locate(member, hash: hash).isFound { return false }
        try table.insertNew(member, NoValue(), hash: hash)
        return true
    }

    /// Takes a member out.
    ///
    /// - Returns: Whether it was there.
    @inlinable @discardableResult
    public func remove(_ member: Member) throws(HeapError) -> Bool { try table.remove(member) }

    /// Takes out and releases all members. With `keepingCapacity`, the memory stays the set's.
    @inlinable
    public func removeAll(keepingCapacity: Bool = false) throws(HeapError) { try table.removeAll(keepingCapacity: keepingCapacity) }

    /// Makes room for this many members in all.
    ///
    /// - Throws: `.full` where the heap has no such room; the set is as it was.
    @inlinable
    public func reserveCapacity(_ minimum: Int) throws(HeapError) { try table.reserveCapacity(minimum) }

    /// Puts the members of a sequence in. O(*m*), expected.
    ///
    /// - Throws: `.full` where the heap has no room; those before stay in.
    @inlinable
    public func formUnion(_ members: some Sequence<Member>) throws(HeapError) { for member in members { try insert(member) } }

    /// Takes the members of a sequence out. O(*m*), expected.
    @inlinable
    public func subtract(_ members: some Sequence<Member>) throws(HeapError) { for member in members { try remove(member) } }
}

extension PersistentSet: PersistentKeyedCollection {
    public typealias Index = PersistentDictionary<Member, NoValue>.Index
    public typealias Element = Member

    @inlinable public var startIndex: Index { table.startIndex }
    @inlinable public var endIndex: Index { table.endIndex }
    @inlinable public func index(after index: Index) -> Index { table.index(after: index) }
    @inlinable public subscript(index: Index) -> Member { table.key(at: table.place(of: index).slot) }

    /// Reads the members. The set must not be changed meanwhile.
    @frozen
    public struct Iterator: IteratorProtocol {
        @usableFromInline var base: PersistentDictionary<Member, NoValue>.Iterator

        @inlinable init(_ base: PersistentDictionary<Member, NoValue>.Iterator) { self.base = base }
        @inlinable public mutating func next() -> Member? { base.next()?.key }
    }

    @inlinable public func makeIterator() -> Iterator { Iterator(table.makeIterator()) }

    /// Believes no count: see `collected`.
    @inlinable public func _copyToContiguousArray() -> ContiguousArray<Element> { collected { $0 } }
}

extension PersistentSet: CustomStringConvertible {
    public var description: String { "[" + lazy.map { String(reflecting: $0) }.joined(separator: ", ") + "]" }
}

extension PersistentSet: PersistentContainer {
    public static var layout: TypeLayout {
        TypeLayout(ContainerHandle.self, name: "PersistentSet", parameters: [Member.layout])
    }

    @inlinable public static var ownsMemory: Bool { true }

    @inlinable
    public static func create(in space: HeapSpace) throws(HeapError) -> Self { try Self(in: space) }

    @inlinable
    public static func store(_ value: Self, in space: HeapSpace) throws(HeapError) -> ContainerHandle {
        try PersistentDictionary.store(value.table, in: space)
    }

    /// The set that lies there. One that a damaged heap describes wrongly reads as empty, and is reported to the heap.
    @inlinable
    public static func load(_ stored: ContainerHandle, in space: HeapSpace) -> Self {
        Self(table: PersistentDictionary.load(stored, in: space))
    }

    /// The set that lies there.
    ///
    /// - Throws: `.damaged` where what is there can't be such a set.
    @inlinable
    public init(validating handle: ContainerHandle, in space: HeapSpace) throws(HeapError) {
        table = try PersistentDictionary(validating: handle, in: space)
    }

    /// Frees the set with all that it holds. No value that shows it may be used afterwards.
    @inlinable
    public func release() throws(HeapError) { try table.release() }

    @inlinable
    public static func release(_ stored: ContainerHandle, in space: HeapSpace) throws(HeapError) {
        try PersistentDictionary<Member, NoValue>.release(stored, in: space)
    }
}
