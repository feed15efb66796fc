extension PersistentHashable where Self: FixedWidthInteger, Stored == Self {
    @inlinable @inline(__always)
    public func persistentHash(into hasher: inout PersistentHasher) { hasher.combine(bits: UInt64(truncatingIfNeeded: self)) }

    @inlinable @inline(__always)
    public func persistentHash(seed: UInt64) -> UInt64 { PersistentHasher.hash(UInt64(truncatingIfNeeded: self), seed: seed) }

    @inlinable @inline(__always)
    public static func persistentHash(of stored: Self, in space: HeapSpace, seed: UInt64) -> UInt64 {
        stored.persistentHash(seed: seed)
    }

    @inlinable @inline(__always)
    public func isStored(as stored: Self, in space: HeapSpace) -> Bool { self == stored }
}

extension Int: PersistentHashable, PersistentComparable {}
extension Int8: PersistentHashable, PersistentComparable {}
extension Int16: PersistentHashable, PersistentComparable {}
extension Int32: PersistentHashable, PersistentComparable {}
extension Int64: PersistentHashable, PersistentComparable {}
extension UInt: PersistentHashable, PersistentComparable {}
extension UInt8: PersistentHashable, PersistentComparable {}
extension UInt16: PersistentHashable, PersistentComparable {}
extension UInt32: PersistentHashable, PersistentComparable {}
extension UInt64: PersistentHashable, PersistentComparable {}

extension Bool: PersistentHashable {
    @inlinable
    public func persistentHash(into hasher: inout PersistentHasher) { hasher.combine(bits: self ? 1 : 0) }
}

/// Zeros are one key, whatever their sign. A NaN equals nothing, itself neither: as a key it is not found again.
extension Double: PersistentHashable {
    @inlinable
    public func persistentHash(into hasher: inout PersistentHasher) { hasher.combine(bits: self == 0 ? 0 : bitPattern) }
}

/// Zeros are one key, whatever their sign. A NaN equals nothing, itself neither: as a key it is not found again.
extension Float: PersistentHashable {
    @inlinable
    public func persistentHash(into hasher: inout PersistentHasher) { hasher.combine(bits: self == 0 ? 0 : UInt64(bitPattern)) }
}

/// Ordered as `Double` orders them, and all that are not a number after the numbers, as equals.
extension Double: PersistentComparable {
    @inlinable
    public func order(ofStored stored: Double, in space: HeapSpace) -> Int {
        stored < self ? -1 : stored > self ? 1 : stored == self ? 0 : (stored.isNaN ? 1 : 0) - (isNaN ? 1 : 0)
    }
}

/// Ordered as `Float` orders them, and all that are not a number after the numbers, as equals.
extension Float: PersistentComparable {
    @inlinable
    public func order(ofStored stored: Float, in space: HeapSpace) -> Int {
        Double(self).order(ofStored: Double(stored), in: space)
    }
}
