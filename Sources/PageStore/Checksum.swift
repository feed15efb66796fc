internal import CXXHash
internal import VMTypes

/// XXH3, 64 bits: the checksum of every page, header and metadata row of a store.
enum Checksum {
    @inline(__always)
    static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 { XXH3_64bits(bytes.baseAddress, covered(bytes.count)) }

    @inline(__always)
    static func of(_ start: UnsafeRawPointer, count: Int) -> UInt64 { XXH3_64bits(start, covered(count)) }

    static func of(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { of($0) } }

    /// Of a row: its key and what follows, as if they lay together.
    static func of(key: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer) -> UInt64 {
        withUnsafeTemporaryAllocation(byteCount: key.count + body.count, alignment: 8) { joined in
            joined.copyMemory(from: key)
            UnsafeMutableRawBufferPointer(rebasing: joined[key.count...]).copyMemory(from: body)
            return of(UnsafeRawBufferPointer(joined))
        }
    }

    /// Of a page of zeros.
    static let zeroPage: UInt64 = of([UInt8](repeating: 0, count: 4096))

    /// How many of `count` bytes are summed: all.
    @inline(__always)
    private static func covered(_ count: Int) -> Int {
        Mutant.isPlanted(.sumOfPartOfPage) && count == Page.size ? count - 512 : count
    }
}
