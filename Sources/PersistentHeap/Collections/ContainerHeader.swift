/// The kinds of collections, as the first four bytes of each say them.
@frozen @usableFromInline
enum ContainerKind: UInt32 {
    /// "VArr"
    case array = 0x7272_4156
    /// "VDic"
    case dictionary = 0x6369_4456
    /// "VMap"
    case sortedMap = 0x7061_4d56

    @usableFromInline
    var name: String {
        switch self {
        case .array: "an array"
        case .dictionary: "a dictionary"
        case .sortedMap: "a sorted map"
        }
    }
}

/// What begins the first block of every collection:
///
///     0  kind   4 bytes; 0 once the collection was released
///     4  flags  4 bytes; bit 0: a collection or a root owns it
///     8  count  8 bytes: how many elements there are
extension HeapSpace {
    /// Ends the program where no collection of the kind is at the offset: one was released, or made in a transaction that was
    /// undone, and is used again.
    @inlinable @inline(__always)
    func expect(_ kind: ContainerKind, at header: Int) {
        precondition(byteCount != 0, "A heap was used after it was closed")
        precondition(
            read(header, as: UInt32.self) == kind.rawValue,
            "This collection is no more: it was released, or made in a transaction that was undone")
    }

    /// How many elements the collection holds.
    @inlinable @inline(__always)
    func count(at header: Int) -> Int { read(header &+ 8) }

    /// Gives a collection of the space `owner` an owner in this one.
    ///
    /// - Throws: `.invalid` where it lies in another heap, or has an owner: two owners would release it twice.
    @usableFromInline
    func adopt(_ kind: ContainerKind, at header: Int, of owner: HeapSpace) throws(HeapError) {
        guard owner === self else {
            throw HeapError(
                .invalid, "\(kind.name) of another heap, or of a past state, can't be held by a collection or root of this heap",
                advice: "Make a collection in this heap, and copy the elements")
        }
        beginChange()
        defer { endChange() }
        expect(kind, at: header)
        let flags: UInt32 = read(header + 4)
        guard header > 0, header < byteCount else {
            throw HeapError(.invalid, "This collection could not be read from the heap: it can't be stored")
        }
        guard flags & 1 == 0 else {
            throw HeapError(
                .invalid, "The collection at offset \(header) is held by another collection or root already",
                advice: "Make a collection of its own for each place")
        }
        write(flags | 1, at: header + 4)
    }

    /// Refuses to change what stands for a collection that could not be read.
    @usableFromInline
    func checkAttached(_ header: Int) throws(HeapError) {
        guard header > 0, header < byteCount else {
            throw failure ?? HeapError(.damaged, "This collection could not be read from the heap: it can't be changed")
        }
    }

    /// Where an empty collection's header lies, outside of the heap, that stands for one that can't be read.
    @usableFromInline
    func detachedHeader(_ kind: ContainerKind) -> Int { DetachedHeaders.address(kind) &- Int(bitPattern: base) }

    /// Whether the offset can be a header of the kind.
    ///
    /// - Throws: `.damaged` where it can't.
    @usableFromInline
    func validateHeader(_ kind: ContainerKind, at header: Int, byteCount: Int) throws(HeapError) {
        guard holds(header, byteCount, alignment: 8) else { throw damage(kind, at: header, "outside of the heap, or not aligned") }
        let found: UInt32 = read(header)
        guard found == kind.rawValue else { throw damage(kind, at: header, "the kind says \(found)") }
    }

    /// The error that says what is wrong with a collection.
    @usableFromInline
    func damage(_ kind: ContainerKind, at offset: Int, _ reason: String) -> HeapError {
        HeapError(.damaged, "There should be \(kind.name) at offset \(offset) of the heap: \(reason)")
    }
}

/// Headers of collections without elements, in memory that lives as long as the process and that nobody writes.
private enum DetachedHeaders {
    static let byteCount = 128
    nonisolated(unsafe) static let memory: UnsafeMutableRawPointer = {
        let kinds: [ContainerKind] = [.array, .dictionary, .sortedMap]
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount * kinds.count, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount * kinds.count)
        for (index, kind) in kinds.enumerated() { memory.storeBytes(of: kind.rawValue, toByteOffset: index * byteCount, as: UInt32.self) }
        return memory
    }()

    static func address(_ kind: ContainerKind) -> Int {
        let index = switch kind {
        case .array: 0
        case .dictionary: 1
        case .sortedMap: 2
        }
        return Int(bitPattern: memory + index * byteCount)
    }
}

extension Sequence {
    /// What an iterator gives, however much that is: a collection's count may be damaged, and what the standard library makes
    /// of a collection ends the program where there are more elements than that, or fewer.
    @inlinable
    func collected<Result>(_ part: (Element) -> Result) -> ContiguousArray<Result> {
        var result = ContiguousArray<Result>()
        result.reserveCapacity(underestimatedCount)
        for element in self { result.append(part(element)) }
        return result
    }
}
