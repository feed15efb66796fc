internal import Glibc

/// The 4,096 bytes of one block; shared where nothing differs.
final class Block: Sendable {
    static let size = 4096
    static let sector = 512

    let bytes: [UInt8]
    let hash: UInt64

    private init(checked bytes: [UInt8]) {
        self.bytes = bytes
        hash = Self.sum(bytes)
    }

    static let zeros = Block(checked: [UInt8](repeating: 0, count: size))

    /// The block of these bytes, with zeros behind them up to its size.
    static func make(_ bytes: some Collection<UInt8>) -> Block {
        var all = Array(bytes)
        if all.count < size { all.append(contentsOf: repeatElement(0, count: size - all.count)) }
        let isZero = all.withUnsafeBytes { a in zeros.bytes.withUnsafeBytes { memcmp(a.baseAddress!, $0.baseAddress!, size) == 0 } }
        return isZero ? zeros : Block(checked: all)
    }

    /// This block with `bytes` in the place of those from `offset` on.
    func replacing(from offset: Int, with bytes: ArraySlice<UInt8>) -> Block {
        if bytes.count == Self.size { return Block.make(bytes) }
        var all = self.bytes
        all.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        return Block.make(all)
    }

    /// The first `count` bytes of this block, and zeros.
    func cut(to count: Int) -> Block { Block.make(bytes[..<count]) }

    /// FNV-1a over words: the images are our own, not an adversary's.
    private static func sum(_ bytes: [UInt8]) -> UInt64 {
        bytes.withUnsafeBytes { raw in
            var hash: UInt64 = 0xcbf2_9ce4_8422_2325
            for offset in stride(from: 0, to: raw.count, by: 8) {
                hash = (hash ^ raw.load(fromByteOffset: offset, as: UInt64.self)) &* 0x0000_0100_0000_01b3
                hash ^= hash >> 29
            }
            return hash
        }
    }
}

/// What one file holds.
struct FileContent {
    /// Those that are not zeros throughout.
    private(set) var blocks: [Int: Block] = [:]
    private(set) var size = 0

    subscript(block: Int) -> Block {
        get { blocks[block] ?? .zeros }
        set { blocks[block] = newValue === Block.zeros ? nil : newValue }
    }

    /// What lies past a smaller size is gone; what a larger one adds is zeros.
    mutating func resize(to size: Int) {
        if size < self.size {
            for block in blocks.keys where block * Block.size >= size { blocks[block] = nil }
            let rest = size % Block.size
            if rest != 0, let last = blocks[size / Block.size] { self[size / Block.size] = last.cut(to: rest) }
        }
        self.size = size
    }
}
