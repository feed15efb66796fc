internal import Glibc
internal import VMTypes

/// The lines of a page: 64 of 64 bytes, a bit each. A patch holds those of its mask, one after the other.
enum LineMask {
    static let lineSize = 64
    static let all = UInt64.max

    /// The lines in which two pages differ; nil as soon as there are more than `limit`. Both are aligned to 8 bytes.
    static func differences(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer, limit: Int) -> UInt64? {
        var mask: UInt64 = 0
        var count = 0
        var a = a.assumingMemoryBound(to: UInt64.self)
        var b = b.assumingMemoryBound(to: UInt64.self)
        for line in 0..<64 as Range<UInt64> {
            let first = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])
            let second = (a[4] ^ b[4]) | (a[5] ^ b[5]) | (a[6] ^ b[6]) | (a[7] ^ b[7])
            if first | second != 0 {
                count += 1
                if count > limit { return nil }
                mask |= 1 << line
            }
            a += 8
            b += 8
        }
        return mask
    }

    /// Copies the lines of `mask` from a page, one after the other; returns the end of what it wrote.
    static func pack(_ mask: UInt64, of page: UnsafeRawPointer, to lines: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        var lines = lines
        var left = mask
        while left != 0 {
            memcpy(lines, page + left.trailingZeroBitCount * lineSize, lineSize)
            lines += lineSize
            left &= left - 1
        }
        return lines
    }

    /// Copies those lines of `wanted` to their places in a page that are among the lines of `mask`, which lie packed.
    static func unpack(_ wanted: UInt64, of mask: UInt64, from lines: UnsafeRawPointer, to page: UnsafeMutableRawPointer) {
        if wanted == all, mask == all {
            memcpy(page, lines, Page.size)
            return
        }
        var left = wanted & mask
        while left != 0 {
            let line = left.trailingZeroBitCount
            let rank = (mask & (1 << UInt64(line) - 1)).nonzeroBitCount
            memcpy(page + line * lineSize, lines + rank * lineSize, lineSize)
            left &= left - 1
        }
    }

    /// Copies the lines of `mask` from one page to another.
    static func copy(_ mask: UInt64, from source: UnsafeRawPointer, to page: UnsafeMutableRawPointer) {
        unpack(mask, of: all, from: source, to: page)
    }

    /// Makes the lines of `mask` zeros.
    static func clear(_ mask: UInt64, in page: UnsafeMutableRawPointer) {
        if mask == all { return memset0(page, Page.size) }
        var left = mask
        while left != 0 {
            memset0(page + left.trailingZeroBitCount * lineSize, lineSize)
            left &= left - 1
        }
    }
}
