/// The sizes of small blocks.
///
/// Multiples of 16 bytes to 128, then four to a doubling, to 32 KiB: a block is at most a quarter larger than what was asked
/// for. Part of the format: the unit table names classes by their numbers, from 1 on.
enum SizeClasses {
    static let sizes: [Int] = {
        var sizes = [0] + (1...8).map { $0 * 16 }
        var base = 128
        while base < 32768 {
            sizes += (1...4).map { base + base / 4 * $0 }
            base *= 2
        }
        return sizes
    }()

    /// One past the last class.
    static let end = sizes.count
    static let largest = 32768
    /// The alignments that blocks of every class have, as bits: 1, 2, 4, 8 and 16.
    static let usualAlignments = 0x10116

    /// Units of a span of each class: eight blocks at least, and little left over at its end.
    static let spanUnits: [Int] = sizes.map { size in
        guard size > 0 else { return 0 }
        var units = max(1, (8 * size + HeapFormat.unitBytes - 1) / HeapFormat.unitBytes)
        while units < 16, units * HeapFormat.unitBytes % size * 16 > units * HeapFormat.unitBytes { units += 1 }
        return units
    }

    /// Blocks in a span of each class.
    static let spanBlocks: [Int] = sizes.indices.map { $0 == 0 ? 0 : spanUnits[$0] * HeapFormat.unitBytes / sizes[$0] }

    /// The smallest class whose blocks have `byteCount` bytes, 1 … `largest`.
    static func number(for byteCount: Int) -> Int {
        if byteCount <= 128 { return (byteCount + 15) >> 4 }
        // The doubling that it lies in, and the quarter of that.
        let above = byteCount - 1
        let shift = Int.bitWidth - 1 - above.leadingZeroBitCount
        return 9 + (shift - 7) * 4 + (above >> (shift - 2)) & 3
    }

    /// The smallest class whose blocks have `byteCount` bytes and begin at multiples of `alignment`; nil where none does.
    static func number(for byteCount: Int, alignment: Int) -> Int? {
        guard byteCount <= largest, alignment <= HeapFormat.unitBytes else { return nil }
        var number = number(for: byteCount)
        while number < end, sizes[number] % alignment != 0 { number += 1 }
        return number < end ? number : nil
    }
}
