/// A restriction on addresses: the bits that must be clear in them, in any pattern.
///
/// A mask of 2^k − 1 asks for multiples of 2^k; other patterns are as good. `x` is *allowed* where
/// `x & mask == 0`.
public struct AlignmentMask: Hashable, Sendable {
    /// The bits that must be clear.
    public let bits: UInt64

    /// A restriction that keeps `bits` clear.
    public init(_ bits: UInt64) { self.bits = bits }

    /// True where `address` has none of the mask's bits.
    public func allows(_ address: UInt64) -> Bool { address & bits == 0 }

    /// The smallest allowed address that is not below `address`, or nil where that exceeds 64 bits.
    ///
    /// A page-aligned `address` gives a page-aligned result. O(1).
    public func next(notBelow address: UInt64) -> UInt64? {
        let offending = address & bits
        if offending == 0 { return address }
        // The result first differs from `address` at a bit that is clear in both `address` and the mask
        // and lies above the highest offending bit; the lowest such bit gives the smallest result, with
        // nothing set below it.
        let highest = 63 - offending.leadingZeroBitCount
        let above: UInt64 = (~0 << highest) << 1
        let candidates = ~address & ~bits & above
        if candidates == 0 { return nil }
        let raised = UInt64(1) << candidates.trailingZeroBitCount
        return (address | raised) & ~(raised - 1)
    }
}
