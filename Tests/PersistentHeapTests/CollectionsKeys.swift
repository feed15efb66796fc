import TestSupport
import Varve

@testable import PersistentHeap

/// A key, and what of it says which key it is: for strings their bytes, where Swift's `==` asks Unicode.
protocol ModelKey: PersistentHashable, Sendable, RandomElement {
    associatedtype Plain: Hashable
    var plain: Plain { get }
}

extension Int: ModelKey { var plain: Int { self } }
extension UInt16: ModelKey { var plain: UInt16 { self } }
extension String: ModelKey { var plain: [UInt8] { Array(utf8) } }

/// A key with three bytes of padding between its parts.
struct PaddedKey: Persistable, PersistentHashable, Hashable, RandomElement, ModelKey {
    var kind: UInt8
    var number: Int32
    var plain: PaddedKey { self }

    func persistentHash(into hasher: inout PersistentHasher) {
        hasher.combine(kind)
        hasher.combine(number)
    }

    static func random(using g: inout SeededGenerator) -> PaddedKey {
        PaddedKey(kind: UInt8.random(in: 0..<4, using: &g), number: Int32.random(in: 0..<200, using: &g))
    }
}

/// A key of few hashes: as bad as a hash function can be.
struct ClashingKey: Persistable, PersistentHashable, Hashable, RandomElement, ModelKey {
    var number: Int
    var plain: Int { number }

    func persistentHash(into hasher: inout PersistentHasher) {}
    func persistentHash(seed: UInt64) -> UInt64 { number % 3 == 0 ? 0 : number % 3 == 1 ? UInt64.max : 0x8000_0000_0000_0000 }

    static func random(using g: inout SeededGenerator) -> ClashingKey { ClashingKey(number: Int.random(in: 0..<400, using: &g)) }
}
