import AddressMap
import TestSupport
import Testing

@Suite struct AlignmentMaskTests {
    @Test func everyMaskAndAddressOfEightBitsAgreesWithCountingUp() {
        for bits: UInt64 in 0..<256 {
            let mask = AlignmentMask(bits)
            let answers = (0..<256).map { mask.next(notBelow: $0) }
            let expected = (0..<256 as Range<UInt64>).map { address -> UInt64? in
                (address...256).first { $0 & bits == 0 }
            }
            #expect(answers == expected, "mask \(bits)")
        }
    }

    @Test func everyMaskAndAddressAtTheTopOverflowsWhereCountingUpDoes() {
        let last = UInt64.max - 63...UInt64.max
        for bits: UInt64 in 0..<64 {
            let answers = last.map { AlignmentMask(bits).next(notBelow: $0) }
            #expect(answers == last.map { address in (address...UInt64.max).first { $0 & bits == 0 } }, "mask \(bits)")
            #expect(last.allSatisfy { AlignmentMask(bits | (~0 << 6)).next(notBelow: $0) == nil }, "mask \(bits)")
        }
    }

    @Test func extremes() {
        #expect(AlignmentMask(0).next(notBelow: .max) == .max)
        #expect(AlignmentMask(.max).next(notBelow: 0) == 0)
        #expect(AlignmentMask(.max).next(notBelow: 1) == nil)
        #expect(AlignmentMask(1 << 63).next(notBelow: 1 << 63) == nil)
        #expect(AlignmentMask(1 << 62).next(notBelow: 1 << 62) == 1 << 63)
    }

    @Test func resultIsAllowedAndPageAlignedForAlignedAddresses() {
        var random = SeededGenerator(seed: 0x616c_6967_6e)
        for _ in 0..<2_000 {
            let bits = random.next() & (random.next() | (random.next() >> 8))
            let address = (random.next() >> (random.next() % 64)) & ~(page - 1)
            guard let result = AlignmentMask(bits).next(notBelow: address) else { continue }
            #expect(result & bits == 0 && result >= address && result % page == 0, "mask \(bits) from \(address)")
        }
    }
}
