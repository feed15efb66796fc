public import VMTypes

extension AddressMap {
    /// The pages that [`address`, `address + size`) touches: [trunc(address), round(address + size)).
    ///
    /// This is the rounding of deallocate, protect, inherit, msync, behavior, wire, read and write;
    /// placement rounds otherwise (``length(address:size:anywhere:wrapping:)``). The result need not lie
    /// within a map's bounds.
    ///
    /// - Returns: nil for a size of 0, which is success without effect.
    /// - Throws: INVALID_ARGUMENT where the sum, before or after rounding, exceeds 64 bits.
    public static func outward(address: UInt64, size: UInt64) throws(VMError) -> Range<UInt64>? {
        guard size > 0 else { return nil }
        let (sum, overflow) = address.addingReportingOverflow(size)
        guard !overflow, let end = Page.round(sum) else {
            throw VMError(
                .invalidArgument,
                "\(hexadecimal(address)) plus \(hexadecimal(size)) bytes goes past the end of the address space")
        }
        return Page.trunc(address)..<end
    }

    /// As ``outward(address:size:)-swift.type.method``.
    public func outward(address: UInt64, size: UInt64) throws(VMError) -> Range<UInt64>? {
        try Self.outward(address: address, size: size)
    }
}
