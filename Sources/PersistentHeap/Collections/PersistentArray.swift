/// An array in a heap: its elements lie in one block, one after the other.
///
///     let samples = try heap.array("samples", of: Double.self)
///     try samples.append(1.5)
///     samples[0] *= 2
///     try heap.commit()
///
/// A value of this type shows the array that lies in the heap, as all its copies do: changing one changes them all. It has the
/// array's heap in it, and is as small as two numbers.
///
/// - **Ownership.** The array owns its elements: what is removed or replaced is released at once, nested collections with all
///   that they hold. An array that no collection and no root holds is yours to `release`.
/// - **Errors.** What needs memory throws `.full` where the heap has none left, and changes nothing. A setter can't throw: where
///   it fails, the element stays as it was, and the heap keeps the error for its next commit, which throws it.
///   Indices out of bounds end the program, as those of `Array` do.
/// - **Threads.** One thread may change a heap at a time, and nobody read it meanwhile. Snapshots are read by any number.
///
/// Reading and replacing an element, and appending (amortized over many) are O(1).
@frozen
public struct PersistentArray<Element: PersistentValue>: Sendable {
    /// The heap.
    public let space: HeapSpace
    /// The header block's offset: the beginning of ContainerHeader, then
    ///
    ///     16  capacity   8 bytes: elements that the block has room for
    ///     24  storage    8 bytes: where that is; 0 without capacity
    ///     32  stride     4 bytes: from one element to the next
    ///     36  alignment  4 bytes
    @usableFromInline let header: Int

    @usableFromInline static var headerSize: Int { 40 }
    @usableFromInline static var stride: Int { MemoryLayout<Element.Stored>.stride }
    @usableFromInline static var alignment: Int { MemoryLayout<Element.Stored>.alignment }

    @inlinable
    init(header: Int, in space: HeapSpace) {
        self.space = space
        self.header = header
    }

    /// Makes an empty array that nobody owns yet: store it in a collection, or `release` it.
    ///
    /// - Throws: `.full` where the heap has no room, `.readOnly` where it is a past state.
    @inlinable
    public init(in space: HeapSpace) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let header = try space.allocate(byteCount: Self.headerSize, alignment: 8)
        space.zeroBytes(header, Self.headerSize)
        space.writeDeclared(ContainerKind.array.rawValue, at: header)
        space.writeDeclared(UInt32(Self.stride), at: header &+ 32)
        space.writeDeclared(UInt32(Self.alignment), at: header &+ 36)
        self.init(header: header, in: space)
    }

    @inlinable @inline(__always) var storage: Int { space.read(header &+ 24) }

    /// How many elements there are.
    @inlinable @inline(__always)
    public var count: Int {
        space.expect(.array, at: header)
        return space.count(at: header)
    }

    /// How many elements there can be before more memory is needed.
    @inlinable
    public var capacity: Int {
        space.expect(.array, at: header)
        return space.read(header &+ 16)
    }

    /// Where the element lies.
    @inlinable @inline(__always)
    func offset(of index: Int) -> Int {
        precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "Index out of range")
        return storage &+ index &* Self.stride
    }

    /// The element at an index.
    ///
    /// The setter releases what was there. Where it fails, the heap keeps the error for its next commit.
    @inlinable
    public subscript(index: Int) -> Element {
        get { Element.load(space.read(offset(of: index)), in: space) }
        nonmutating set {
            do throws(HeapError) { try replace(at: index, with: newValue) } catch { space.fail(error) }
        }
        @inline(__always)
        nonmutating _modify {
            space.beginChange()
            defer { space.endChange() }
            var element = Element.load(space.read(offset(of: index)), in: space)
            defer { do throws(HeapError) { try replace(at: index, with: element) } catch { space.fail(error) } }
            yield &element
        }
    }

    /// Replaces an element, and releases what was there.
    ///
    /// - Throws: `.full` where the new element needs memory and none is left: the old one stays.
    @inlinable @inline(__always)
    public func replace(at index: Int, with element: Element) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let offset = offset(of: index)
        if Element.ownsMemory {
            let old: Element.Stored = space.read(offset)
            if Element.isSame(element, as: old, in: space) { return }
            let new = try Element.store(element, in: space)
            space.write(new, at: offset)
            try Element.release(old, in: space)
        } else {
            space.write(try Element.store(element, in: space), at: offset)
        }
    }
}

extension PersistentArray: PersistentContainer {
    public static var layout: TypeLayout {
        TypeLayout(ContainerHandle.self, name: "PersistentArray", parameters: [Element.layout])
    }

    @inlinable public static var ownsMemory: Bool { true }

    @inlinable
    public static func create(in space: HeapSpace) throws(HeapError) -> Self { try Self(in: space) }

    @inlinable
    public static func store(_ value: Self, in space: HeapSpace) throws(HeapError) -> ContainerHandle {
        try space.adopt(.array, at: value.header, of: value.space)
        return ContainerHandle(offset: value.header)
    }

    /// The array that lies there. One that a damaged heap describes wrongly reads as empty, and is reported to the heap.
    @inlinable
    public static func load(_ stored: ContainerHandle, in space: HeapSpace) -> Self {
        do throws(HeapError) { return try Self(validating: stored, in: space) } catch {
            space.fail(error)
            return Self(header: space.detachedHeader(.array), in: space)
        }
    }

    /// The array that lies there.
    ///
    /// - Throws: `.damaged` where what is there can't be such an array.
    @inlinable
    public init(validating handle: ContainerHandle, in space: HeapSpace) throws(HeapError) {
        let header = handle.offset
        try space.validateHeader(.array, at: header, byteCount: Self.headerSize)
        let count: Int = space.read(header &+ 8)
        let capacity: Int = space.read(header &+ 16)
        let storage: Int = space.read(header &+ 24)
        let (bytes, overflow) = capacity.multipliedReportingOverflow(by: Self.stride)
        guard space.read(header &+ 32) == UInt32(Self.stride), space.read(header &+ 36) == UInt32(Self.alignment), count >= 0,
            count <= capacity, !overflow, capacity == 0 || space.holds(storage, bytes, alignment: Self.alignment)
        else {
            throw space.damage(.array, at: header, "\(count) of \(capacity) elements of \(Self.stride) bytes at offset \(storage)")
        }
        self.init(header: header, in: space)
    }

    /// Frees the array with all that it holds. No value that shows it may be used afterwards.
    @inlinable
    public func release() throws(HeapError) { try Self.release(ContainerHandle(offset: header), in: space) }

    @inlinable
    public static func release(_ stored: ContainerHandle, in space: HeapSpace) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let array = try Self(validating: stored, in: space)
        try array.releaseElements(0..<array.count)
        let storage = array.storage
        space.write(0 as UInt32, at: array.header)
        if storage != 0 { try space.free(storage) }
        try space.free(array.header)
    }

    @inlinable
    func releaseElements(_ range: Range<Int>) throws(HeapError) {
        guard Element.ownsMemory else { return }
        let storage = storage
        for index in range { try Element.release(space.read(storage &+ index &* Self.stride), in: space) }
    }
}
