public import VMTypes

extension AddressMap {
    /// Checks the address and size of a mapping call and gives the length in bytes that it maps.
    ///
    /// Address and size are rounded independently: the mapping starts at trunc(address) and is
    /// round(size) long, so address = 4,095 and size = 2 is one page. This is the check that comes
    /// before those of the object; ``place(address:size:mask:anywhere:wrapping:)`` includes it.
    ///
    /// - Parameter code: the answer to a fixed range that wraps; `vm_allocate` says INVALID_ADDRESS.
    /// - Throws: INVALID_ARGUMENT for a size that is 0 or rounds to 0; `code` where `anywhere` is false
    ///   and trunc(address) + round(size) exceeds 64 bits.
    public static func length(
        address: UInt64, size: UInt64, anywhere: Bool, wrapping code: KernReturn = .invalidArgument
    ) throws(VMError) -> UInt64 {
        guard size > 0 else { throw VMError(.invalidArgument, "a size of 0 bytes at \(hexadecimal(address))") }
        guard let length = Page.round(size) else {
            throw VMError(
                .invalidArgument, "a size of \(hexadecimal(size)) bytes exceeds 64 bits when rounded up to pages")
        }
        // Where the rounded sum fits in 64 bits, so does address + size.
        if !anywhere, Page.trunc(address).addingReportingOverflow(length).overflow {
            throw VMError(
                code,
                "\(hexadecimal(address)) plus \(hexadecimal(size)) bytes goes past the end of the address space")
        }
        return length
    }

    /// Where a new mapping goes; the map stays as it is.
    ///
    /// Fixed (`anywhere` false): exactly at trunc(address); neighbours may touch. Anywhere: at the
    /// smallest x ≥ trunc(address) with `x & mask == 0` such that [x, x + round(size)) is free and
    /// within ``bounds``; the search never wraps around.
    ///
    /// - Parameters:
    ///   - address: the place, or the hint.
    ///   - size: in bytes; see ``length(address:size:anywhere:wrapping:)``.
    ///   - mask: the bits that must be clear in the result, in any pattern.
    ///   - code: the answer to a fixed range that wraps.
    /// - Throws, in this order: what `length` throws; fixed: NO_SPACE where trunc(address) has a bit of
    ///   the mask, INVALID_ADDRESS outside ``bounds``, NO_SPACE where an entry overlaps; anywhere:
    ///   NO_SPACE.
    /// - Complexity: O(log n); anywhere also counts each gap that is large enough but, because of the
    ///   mask, doesn't serve.
    public func place(
        address: UInt64, size: UInt64, mask: UInt64, anywhere: Bool,
        wrapping code: KernReturn = .invalidArgument
    ) throws(VMError) -> Range<UInt64> {
        let length = try Self.length(address: address, size: size, anywhere: anywhere, wrapping: code)
        let start = Page.trunc(address)
        let mask = AlignmentMask(mask)
        if anywhere { return try search(from: start, length: length, mask: mask) }
        let range = start..<start + length
        guard mask.allows(start) else {
            throw VMError(.noSpace, "\(hexadecimal(range)): the mask \(hexadecimal(mask.bits)) rules out this address")
        }
        try checkBounds(range)
        try checkFree(range)
        return range
    }

    private func search(from hint: UInt64, length: UInt64, mask: AlignmentMask) throws(VMError) -> Range<UInt64> {
        var search = GapSearch(length: length, mask: mask, hint: max(hint, bounds.lowerBound))
        guard let start = search.run(in: tree, bounds: bounds) else {
            let restriction = mask.bits == 0 ? "" : " under mask \(hexadecimal(mask.bits))"
            throw VMError(
                .noSpace,
                """
                no gap of \(hexadecimal(length)) bytes\(restriction) from \(hexadecimal(hint)) up within \
                \(hexadecimal(bounds)) (entries: \(count))
                """)
        }
        return start..<start + length
    }

    /// Throws INVALID_ADDRESS where `range` is not within the bounds.
    func checkBounds(_ range: Range<UInt64>) throws(VMError) {
        guard range.lowerBound >= bounds.lowerBound, range.upperBound <= bounds.upperBound else {
            throw VMError(
                .invalidAddress, "\(hexadecimal(range)) is not within the task's addresses \(hexadecimal(bounds))")
        }
    }

    /// Throws NO_SPACE where an entry overlaps `range`.
    func checkFree(_ range: Range<UInt64>) throws(VMError) {
        if let obstacle = lookupOrNext(range.lowerBound), obstacle.start < range.upperBound {
            throw VMError(.noSpace, "\(hexadecimal(range)) is taken by \(obstacle.summary)")
        }
    }
}
