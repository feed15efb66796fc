/// A hash function whose values stay the same: in every process, on every host, in every release of Varve.
///
/// It is wyhash (Wang Yi, final version 4; public domain) of bytes, and of numbers its 64-bit mixing. A dictionary stores the
/// seed that it draws when it is made, so that keys can't be chosen to collide by somebody who does not read the heap.
@frozen
public struct PersistentHasher: Sendable {
    @usableFromInline var state: UInt64

    @inlinable @inline(__always)
    public init(seed: UInt64) { state = seed }

    /// The two halves of the product, one folded onto the other.
    @inlinable @inline(__always)
    static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    /// The hash of one number.
    @inlinable @inline(__always)
    public static func hash(_ bits: UInt64, seed: UInt64) -> UInt64 {
        let product = (bits ^ 0x2d35_8dcc_aa6c_78a5).multipliedFullWidth(by: seed ^ 0x8bb8_4b93_962e_acc9)
        return mix(product.low ^ 0x2d35_8dcc_aa6c_78a5, product.high ^ 0x8bb8_4b93_962e_acc9)
    }

    /// The hash of bytes.
    @inlinable
    public static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        let s0: UInt64 = 0x2d35_8dcc_aa6c_78a5
        let s1: UInt64 = 0x8bb8_4b93_962e_acc9
        let s2: UInt64 = 0x4b33_a62e_d433_d4a3
        let s3: UInt64 = 0x4d5a_2da5_1de1_aa47
        let count = bytes.count
        var seed = seed
        seed ^= mix(seed ^ s0, s1)
        var a: UInt64 = 0
        var b: UInt64 = 0
        guard let p = bytes.baseAddress, count > 0 else { return finish(a, b, seed, 0) }
        if count <= 16 {
            if count >= 4 {
                let step = (count &>> 3) &<< 2
                a = four(p) &<< 32 | four(p + step)
                b = four(p + (count &- 4)) &<< 32 | four(p + (count &- 4 &- step))
            } else {
                a = UInt64(p.load(as: UInt8.self)) &<< 16
                    | UInt64(p.load(fromByteOffset: count &>> 1, as: UInt8.self)) &<< 8
                    | UInt64(p.load(fromByteOffset: count &- 1, as: UInt8.self))
            }
            return finish(a, b, seed, count)
        }
        var rest = count
        var at = p
        if rest >= 48 {
            var seed1 = seed
            var seed2 = seed
            repeat {
                seed = mix(eight(at) ^ s1, eight(at + 8) ^ seed)
                seed1 = mix(eight(at + 16) ^ s2, eight(at + 24) ^ seed1)
                seed2 = mix(eight(at + 32) ^ s3, eight(at + 40) ^ seed2)
                at += 48
                rest &-= 48
            } while rest >= 48
            seed ^= seed1 ^ seed2
        }
        while rest > 16 {
            seed = mix(eight(at) ^ s1, eight(at + 8) ^ seed)
            rest &-= 16
            at += 16
        }
        a = eight(at + (rest &- 16))
        b = eight(at + (rest &- 8))
        return finish(a, b, seed, count)
    }

    @inlinable @inline(__always)
    static func finish(_ a: UInt64, _ b: UInt64, _ seed: UInt64, _ count: Int) -> UInt64 {
        let product = (a ^ 0x8bb8_4b93_962e_acc9).multipliedFullWidth(by: b ^ seed)
        return mix(product.low ^ 0x2d35_8dcc_aa6c_78a5 ^ UInt64(count), product.high ^ 0x8bb8_4b93_962e_acc9)
    }

    @inlinable @inline(__always)
    static func eight(_ p: UnsafeRawPointer) -> UInt64 { UInt64(littleEndian: p.loadUnaligned(as: UInt64.self)) }

    @inlinable @inline(__always)
    static func four(_ p: UnsafeRawPointer) -> UInt64 { UInt64(UInt32(littleEndian: p.loadUnaligned(as: UInt32.self))) }

    /// Takes a number in.
    @inlinable @inline(__always)
    public mutating func combine(bits: UInt64) { state = Self.hash(bits, seed: state) }

    /// Takes bytes in, and how many they are.
    @inlinable
    public mutating func combine(bytes: UnsafeRawBufferPointer) { state = Self.hash(bytes, seed: state) }

    /// Takes an element in.
    @inlinable @inline(__always)
    public mutating func combine<Element: PersistentHashable>(_ element: Element) {
        state = element.persistentHash(seed: state)
    }

    /// The hash of what was taken in.
    @inlinable @inline(__always)
    public func finish() -> UInt64 { state }
}

/// A key of a dictionary or a member of a set: it hashes alike in every process.
///
/// A type of yours says which of its parts are meaningful, as with `Hashable`; padding is never looked at:
///
///     struct Point: Persistable, PersistentHashable {
///         var x: Int32
///         var y: Int32
///         func persistentHash(into hasher: inout PersistentHasher) {
///             hasher.combine(x)
///             hasher.combine(y)
///         }
///     }
///
/// Changing what is taken in, or in which order, makes stored keys unfindable: it is a change of the type's layout.
public protocol PersistentHashable: PersistentLeaf, Equatable {
    /// Takes the parts in by which two values differ.
    func persistentHash(into hasher: inout PersistentHasher)

    /// The value's hash. The same for equal values, and for the stored form of the value.
    func persistentHash(seed: UInt64) -> UInt64

    /// The hash of the value that stands for stored bytes.
    static func persistentHash(of stored: Stored, in space: HeapSpace, seed: UInt64) -> UInt64

    /// Whether stored bytes stand for this value.
    func isStored(as stored: Stored, in space: HeapSpace) -> Bool
}

extension PersistentHashable {
    @inlinable
    public func persistentHash(seed: UInt64) -> UInt64 {
        var hasher = PersistentHasher(seed: seed)
        persistentHash(into: &hasher)
        return hasher.finish()
    }

    @inlinable
    public static func persistentHash(of stored: Stored, in space: HeapSpace, seed: UInt64) -> UInt64 {
        load(stored, in: space).persistentHash(seed: seed)
    }

    @inlinable
    public func isStored(as stored: Stored, in space: HeapSpace) -> Bool { Self.load(stored, in: space) == self }
}
