public import Glibc

/// Bytes in a heap, 16 of them in place: up to 15 bytes stand in the value itself, longer ones in a block that it owns.
///
/// It is what stands for a `[UInt8]` in a collection, and a part of your own `Persistable` types that hold bytes. The value is a
/// handle: copying it copies no bytes, and of all its copies one is released, once.
@frozen
public struct PersistentBytes: Persistable, Sendable {
    public static var layout: TypeLayout { TypeLayout(scalar: Self.self, name: "PersistentBytes") }

    /// Bytes 0..<8, or where the block is.
    @usableFromInline let low: UInt64
    /// Bytes 8..<15 and, topmost, their count; or the number of bytes with `blockMark` topmost.
    @usableFromInline let high: UInt64

    @usableFromInline static var inlineCapacity: Int { 15 }
    @usableFromInline static var blockMark: UInt64 { 0xff00_0000_0000_0000 }

    @inlinable @inline(__always)
    init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// No bytes.
    @inlinable public init() { self.init(low: 0, high: 0) }

    /// Puts bytes into the heap.
    ///
    /// - Throws: `.full` where the heap has no room.
    @inlinable
    public init(_ bytes: UnsafeRawBufferPointer, in space: HeapSpace) throws(HeapError) {
        if bytes.count <= Self.inlineCapacity {
            self.init(inline: bytes)
        } else {
            space.beginChange()
            defer { space.endChange() }
            let offset = try space.allocate(byteCount: bytes.count, alignment: 1)
            space.fillBytes(offset, from: bytes)
            self.init(low: UInt64(offset), high: Self.blockMark | UInt64(bytes.count))
        }
    }

    /// Up to 15 bytes, in the value itself.
    @inlinable
    init(inline bytes: UnsafeRawBufferPointer) {
        let count = bytes.count
        var low: UInt64 = 0
        var high: UInt64 = 0
        if count >= 8 {
            low = bytes.loadUnaligned(as: UInt64.self)
            if count > 8 {
                // The last eight bytes, less those that are in `low`.
                high = bytes.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self) &>> UInt64(truncatingIfNeeded: (16 &- count) &* 8)
            }
        } else {
            var index = count
            while index > 0 {
                index &-= 1
                low = low &<< 8 | UInt64(bytes[index])
            }
        }
        self.init(low: low, high: high | UInt64(count) &<< 56)
    }

    @inlinable var isInline: Bool { high &>> 56 <= 15 }

    /// How many bytes there are.
    @inlinable
    public var count: Int { isInline ? Int(high &>> 56) : Int(high & ~Self.blockMark) }

    /// Whether the value may be read: bytes on disk can be anything.
    @inlinable
    func isSound(in space: HeapSpace) -> Bool {
        isInline || high &>> 56 == 0xff && low <= UInt64(Int.max) && count > Self.inlineCapacity
            && space.holds(Int(low), count, alignment: 1)
    }

    @usableFromInline
    var damage: HeapError { HeapError(.damaged, "Bytes in the heap name \(count) bytes at offset \(low), which lie outside of it") }

    /// Calls `body` with the bytes, which are valid until it returns and no longer than they are in the heap.
    ///
    /// A value that a damaged heap holds reads as no bytes, and is reported to the space.
    @inlinable
    public func withBytes<Result, Failure: Error>(
        in space: HeapSpace, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if isInline {
            let words = (low.littleEndian, high.littleEndian)
            var result: Swift.Result<Result, Failure>?
            withUnsafeBytes(of: words) { bytes in
                do throws(Failure) {
                    result = .success(try body(UnsafeRawBufferPointer(rebasing: bytes[..<Int(high &>> 56)])))
                } catch { result = .failure(error) }
            }
            return try result!.get()
        }
        guard isSound(in: space) else {
            space.fail(damage)
            return try body(UnsafeRawBufferPointer(start: nil, count: 0))
        }
        return try body(UnsafeRawBufferPointer(start: space.base + Int(low), count: count))
    }

    /// Whether the bytes are these.
    @inlinable
    func equals(_ bytes: UnsafeRawBufferPointer, in space: HeapSpace) -> Bool {
        guard count == bytes.count else { return false }
        if isInline {
            let other = PersistentBytes(inline: bytes)
            return low == other.low && high == other.high
        }
        return withBytes(in: space) { mine in mine.count == bytes.count && memcmp(mine.baseAddress!, bytes.baseAddress!, mine.count) == 0 }
    }

    /// How these bytes are ordered to others: byte by byte, as unsigned numbers; a beginning before what it begins.
    @inlinable
    func order(to bytes: UnsafeRawBufferPointer, in space: HeapSpace) -> Int {
        withBytes(in: space) { mine in
            let common = min(mine.count, bytes.count)
            if common > 0 {
                let order = memcmp(mine.baseAddress!, bytes.baseAddress!, common)
                if order != 0 { return Int(order) }
            }
            return mine.count - bytes.count
        }
    }

    /// Frees the block, where there is one.
    @inlinable
    public func release(in space: HeapSpace) throws(HeapError) {
        guard !isInline else { return }
        guard isSound(in: space) else { throw damage }
        try space.free(Int(low))
    }
}

extension Array: PersistentValue, PersistentLeaf where Element == UInt8 {
    public typealias Stored = PersistentBytes

    public static var layout: TypeLayout { TypeLayout(scalar: PersistentBytes.self, name: "[UInt8]") }

    @inlinable
    public static func load(_ stored: PersistentBytes, in space: HeapSpace) -> [UInt8] { stored.withBytes(in: space) { [UInt8]($0) } }

    @inlinable
    public static func store(_ value: [UInt8], in space: HeapSpace) throws(HeapError) -> PersistentBytes {
        var result: Result<PersistentBytes, HeapError>?
        value.withUnsafeBytes { bytes in
            do throws(HeapError) { result = .success(try PersistentBytes(bytes, in: space)) } catch { result = .failure(error) }
        }
        return try result!.get()
    }

    @inlinable
    public static func release(_ stored: PersistentBytes, in space: HeapSpace) throws(HeapError) { try stored.release(in: space) }

    @inlinable public static var ownsMemory: Bool { true }
}

extension Array: PersistentHashable where Element == UInt8 {
    @inlinable
    public func persistentHash(into hasher: inout PersistentHasher) { withUnsafeBytes { hasher.combine(bytes: $0) } }

    @inlinable
    public static func persistentHash(of stored: PersistentBytes, in space: HeapSpace, seed: UInt64) -> UInt64 {
        stored.withBytes(in: space) { PersistentHasher.hash($0, seed: seed) }
    }

    @inlinable
    public func isStored(as stored: PersistentBytes, in space: HeapSpace) -> Bool {
        withUnsafeBytes { stored.equals($0, in: space) }
    }
}
