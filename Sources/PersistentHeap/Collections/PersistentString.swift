/// Text in a heap, as UTF-8, 16 bytes in place: up to 15 bytes stand in the value itself, longer ones in a block that it owns.
///
/// It is what stands for a `String` in a collection, and a part of your own `Persistable` types that hold text:
///
///     struct Person: Persistable { var name: PersistentString; var born: Int }
///     let person = Person(name: try PersistentString("Ada", in: heap), born: 1815)
///     print(person.name.string(in: heap))
///
/// The value is a handle: copying it copies no text, and of all its copies one is released, once.
@frozen
public struct PersistentString: Persistable, Sendable {
    public static var layout: TypeLayout { TypeLayout(scalar: Self.self, name: "PersistentString") }

    /// The UTF-8 code units.
    public let utf8: PersistentBytes

    @inlinable init(utf8: PersistentBytes) { self.utf8 = utf8 }

    /// The empty text.
    @inlinable public init() { utf8 = PersistentBytes() }

    /// Puts text into the heap.
    ///
    /// - Throws: `.full` where the heap has no room.
    @inlinable
    public init(_ text: String, in space: HeapSpace) throws(HeapError) {
        var result: Result<PersistentBytes, HeapError>?
        text.withUTF8Bytes { bytes in
            do throws(HeapError) { result = .success(try PersistentBytes(bytes, in: space)) } catch { result = .failure(error) }
        }
        utf8 = try result!.get()
    }

    /// The text. Bytes that are not UTF-8, as only a damaged heap holds them, read as replacement characters.
    @inlinable
    public func string(in space: HeapSpace) -> String { utf8.withBytes(in: space) { String(decoding: $0, as: UTF8.self) } }

    /// Frees the block, where there is one.
    @inlinable public func release(in space: HeapSpace) throws(HeapError) { try utf8.release(in: space) }
}

extension String {
    /// Calls `body` with the UTF-8 code units.
    @inlinable @inline(__always)
    func withUTF8Bytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        if let result = utf8.withContiguousStorageIfAvailable({ body(UnsafeRawBufferPointer($0)) }) { return result }
        var copy = self
        return copy.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
}

extension String: PersistentLeaf {
    public typealias Stored = PersistentString

    public static var layout: TypeLayout { TypeLayout(scalar: PersistentString.self, name: "String") }

    @inlinable
    public static func load(_ stored: PersistentString, in space: HeapSpace) -> String { stored.string(in: space) }

    @inlinable
    public static func store(_ value: String, in space: HeapSpace) throws(HeapError) -> PersistentString {
        try PersistentString(value, in: space)
    }

    @inlinable
    public static func release(_ stored: PersistentString, in space: HeapSpace) throws(HeapError) { try stored.release(in: space) }

    @inlinable public static var ownsMemory: Bool { true }
}

/// As keys, strings are their UTF-8 bytes, so that no table of Unicode's decides what a heap holds: canonically equivalent
/// strings of different scalars, which Swift finds equal, are two keys.
extension String: PersistentHashable {
    @inlinable
    public func persistentHash(into hasher: inout PersistentHasher) {
        hasher.state = persistentHash(seed: hasher.state)
    }

    @inlinable
    public func persistentHash(seed: UInt64) -> UInt64 { withUTF8Bytes { PersistentHasher.hash($0, seed: seed) } }

    @inlinable
    public static func persistentHash(of stored: PersistentString, in space: HeapSpace, seed: UInt64) -> UInt64 {
        stored.utf8.withBytes(in: space) { PersistentHasher.hash($0, seed: seed) }
    }

    @inlinable
    public func isStored(as stored: PersistentString, in space: HeapSpace) -> Bool {
        withUTF8Bytes { stored.utf8.equals($0, in: space) }
    }
}

/// In a sorted map, strings are ordered by their UTF-8 bytes, which is the order of their Unicode scalars.
extension String: PersistentComparable {
    @inlinable
    public func order(ofStored stored: PersistentString, in space: HeapSpace) -> Int {
        withUTF8Bytes { stored.utf8.order(to: $0, in: space) }
    }
}
