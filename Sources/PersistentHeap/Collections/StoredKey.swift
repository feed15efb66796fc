/// A key whose type is known by the name that a layout records: a check can hash and order it without the program's types.
struct StoredKey {
    private enum Kind {
        case signed(Int), unsigned(Int), bytes
    }

    private let kind: Kind
    private let space: HeapSpace

    /// Nil where the shape is of a type that only a program knows, or has more bytes than a key has room for.
    init?(_ shape: StoredShape, room: Int, in space: HeapSpace) {
        self.space = space
        guard room >= 16 || !shape.ownsMemory else { return nil }
        switch shape {
        case .bytes: kind = .bytes
        case .plain(let name):
            switch name {
            case "Int", "Int64": kind = .signed(8)
            case "Int32": kind = .signed(4)
            case "Int16": kind = .signed(2)
            case "Int8": kind = .signed(1)
            case "UInt", "UInt64": kind = .unsigned(8)
            case "UInt32": kind = .unsigned(4)
            case "UInt16": kind = .unsigned(2)
            case "UInt8": kind = .unsigned(1)
            default: return nil
            }
        default: return nil
        }
        switch kind {
        case .signed(let size), .unsigned(let size): guard size <= room else { return nil }
        case .bytes: return
        }
    }

    /// The number at an offset, extended to 64 bits by its sign.
    private func number(_ offset: Int) -> Int64 {
        switch kind {
        case .signed(8), .unsigned(8): space.load(offset)
        case .signed(4): Int64(space.load(offset, as: Int32.self))
        case .signed(2): Int64(space.load(offset, as: Int16.self))
        case .signed: Int64(space.load(offset, as: Int8.self))
        case .unsigned(4): Int64(space.load(offset, as: UInt32.self))
        case .unsigned(2): Int64(space.load(offset, as: UInt16.self))
        case .unsigned: Int64(space.load(offset, as: UInt8.self))
        case .bytes: 0
        }
    }

    func hash(at offset: Int, seed: UInt64) -> UInt64 {
        if case .bytes = kind {
            return space.load(offset, as: PersistentBytes.self).withBytes(in: space) { PersistentHasher.hash($0, seed: seed) }
        }
        return PersistentHasher.hash(UInt64(bitPattern: number(offset)), seed: seed)
    }

    /// Whether the key at the first offset is ordered before the one at the second, or equal where that is allowed.
    func isOrdered(_ first: Int, _ second: Int, orEqual: Bool) -> Bool {
        switch kind {
        case .bytes:
            let order = space.load(second, as: PersistentBytes.self).withBytes(in: space) { bytes in
                space.load(first, as: PersistentBytes.self).order(to: bytes, in: space)
            }
            return order < 0 || orEqual && order == 0
        case .signed:
            return number(first) < number(second) || orEqual && number(first) == number(second)
        case .unsigned:
            let (a, b) = (UInt64(bitPattern: number(first)), UInt64(bitPattern: number(second)))
            return a < b || orEqual && a == b
        }
    }
}
