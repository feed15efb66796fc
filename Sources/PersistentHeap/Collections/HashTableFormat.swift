/// How a dictionary lies in the heap.
///
/// **Header**, 64 bytes: the beginning that all collections have, and the fields below.
///
/// **Directory**: 2^depth entries of 8 bytes, at most; the highest *depth* bits of a key's hash choose one. While the depth
/// is 0, the one entry is in the header. An entry says which segment has the keys: its offset divided by 16 in the upper 48
/// bits, then 8 bits of *local depth* (how many of the hash's bits all its keys have in common), then 8 bits of the logarithm
/// of the number of its chunks. Entries that differ only in bits beyond the local depth are equal: they share the segment.
///
/// **Segment**: a power of two of chunks. **Chunk**: 14 tags of one byte, a byte that is not used, a byte that counts
/// overflow, then 14 slots. A tag is 0 where the slot is empty, else 128 plus the hash's lowest 7 bits. Bits 7 and up choose a
/// key's first chunk; where it is full, the next one is 2 × tag + 1 further, and so on. Each chunk that was full when a key was
/// to go there counts it in its overflow, up to 255, where the count stays for ever: a search ends at a chunk that counts none.
@usableFromInline
enum HashTableFormat {
    @usableFromInline static var headerSize: Int { 64 }
    /// 8 bytes: what keys are hashed with.
    @usableFromInline static var seed: Int { 16 }
    /// 8 bytes: the directory's offset.
    @usableFromInline static var directory: Int { 24 }
    /// 4 bytes: from one slot to the next.
    @usableFromInline static var slotStride: Int { 32 }
    /// 4 bytes: where a slot's value is; its key is at 0.
    @usableFromInline static var valueOffset: Int { 36 }
    /// 4 bytes: the directory's depth.
    @usableFromInline static var depth: Int { 40 }
    /// 8 bytes: the one entry of a directory of depth 0.
    @usableFromInline static var onlyEntry: Int { 48 }
    /// 8 bytes: how many segments there are.
    @usableFromInline static var segmentCount: Int { 56 }

    @usableFromInline static var slotsPerChunk: Int { 14 }
    @usableFromInline static var overflow: Int { 15 }
    @usableFromInline static var maximumDepth: Int { 40 }
    /// Segments up to this size double; larger ones would split.
    @usableFromInline static var segmentSize: Int { 32 << 10 }
    /// Chunks that are looked through for an empty slot, before the segment grows.
    @usableFromInline static var patience: Int { 6 }

    /// What an entry says.
    @frozen @usableFromInline
    struct Entry {
        @usableFromInline var bits: UInt64

        @inlinable @inline(__always) init(bits: UInt64) { self.bits = bits }

        @inlinable @inline(__always)
        init(offset: Int, localDepth: Int, chunkShift: Int) {
            bits = UInt64(offset &>> 4) &<< 16 | UInt64(localDepth) &<< 8 | UInt64(chunkShift)
        }

        @inlinable @inline(__always) var offset: Int { Int(truncatingIfNeeded: (bits &>> 16) &<< 4) }
        @inlinable @inline(__always) var localDepth: Int { Int(truncatingIfNeeded: (bits &>> 8) & 0xff) }
        @inlinable @inline(__always) var chunkShift: Int { Int(truncatingIfNeeded: bits & 0xff) }
        @inlinable @inline(__always) var chunkCount: Int { 1 &<< chunkShift }
    }

    /// Where a search ended.
    @frozen @usableFromInline
    struct Place {
        /// The chunk's offset.
        @usableFromInline var chunk: Int
        /// Which of its slots; 14 where the key was not found.
        @usableFromInline var lane: Int
        /// The slot's offset; 0 where the key was not found.
        @usableFromInline var slot: Int
        /// How many chunks were passed before this one.
        @usableFromInline var passed: Int

        @inlinable @inline(__always) var isFound: Bool { slot != 0 }

        @inlinable @inline(__always)
        init(chunk: Int, lane: Int, slot: Int, passed: Int) {
            self.chunk = chunk
            self.lane = lane
            self.slot = slot
            self.passed = passed
        }

        @inlinable @inline(__always) static var none: Place { Place(chunk: 0, lane: 14, slot: 0, passed: 0) }
    }

    @inlinable @inline(__always)
    static func tag(_ hash: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: hash) | 0x80 }

    /// A bit at the top of each byte that equals the tag, and perhaps of bytes above one that does.
    @inlinable @inline(__always)
    static func matches(_ word: UInt64, _ pattern: UInt64) -> UInt64 {
        let difference = word ^ pattern
        return (difference &- 0x0101_0101_0101_0101) & ~difference & 0x8080_8080_8080_8080
    }
}
