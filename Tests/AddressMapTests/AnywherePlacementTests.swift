import AddressMap
import Testing
import VMTypes

@Suite struct AnywherePlacementTests {
    @Test func firstFitIsTheLowestAddressFromTheHint() throws {
        var map = map()
        try map.insert(entry(1..<3))
        try map.insert(entry(4..<6))
        #expect(try map.place(address: 0, size: page, mask: 0, anywhere: true) == bytes(3..<4))
        #expect(try map.place(address: 0, size: 2 * page, mask: 0, anywhere: true) == bytes(6..<8))
        #expect(try map.place(address: 5 * page, size: page, mask: 0, anywhere: true) == bytes(6..<7))
        #expect(try map.place(address: 50 * page + 17, size: page + 1, mask: 0, anywhere: true) == bytes(50..<52))
    }

    @Test func theSearchDoesNotWrapAround() throws {
        var map = map(pages: 1, 10)
        try map.insert(entry(5..<10))
        expect(.noSpace) { () throws(VMError) in
            _ = try map.place(address: 5 * page, size: page, mask: 0, anywhere: true)
        }
    }

    @Test func aHintAtOrAboveTheBoundsIsNoSpace() {
        for hint in [10 * page, 11 * page, top, UInt64.max] {
            expect(.noSpace) { () throws(VMError) in
                _ = try map(pages: 1, 10).place(address: hint, size: 1, mask: 0, anywhere: true)
            }
        }
    }

    @Test func aHintBelowTheBoundsStartsAtTheirBeginning() throws {
        #expect(try map(pages: 10, 20).place(address: 5, size: 1, mask: 0, anywhere: true) == bytes(10..<11))
    }

    @Test func aHintPlusSizeThatWrapsIsNoSpace() {
        for (address, size) in [(top, page), (2 * page, top)] {
            expect(.noSpace) { () throws(VMError) in
                _ = try map().place(address: address, size: size, mask: 0, anywhere: true)
            }
        }
    }

    @Test func theLastPageOfTheBoundsIsUsed() throws {
        let map = AddressMap(bounds: 0..<UInt64.max)
        #expect(try map.place(address: top - page, size: page, mask: 0, anywhere: true) == top - page..<top)
        #expect(try map.place(address: 0, size: top - page, mask: 0, anywhere: true) == page..<top)
    }

    @Test func maskBitsBelowThePageSizeRuleNothingOut() throws {
        #expect(try map().place(address: 0, size: page, mask: page - 1, anywhere: true) == bytes(1..<2))
        #expect(try map().place(address: page + 9, size: 1, mask: page - 1, anywhere: false) == bytes(1..<2))
    }

    @Test func aMaskWithHolesIsObeyedBitByBit() throws {
        // Pages with bits 0 and 2 clear: 2, 8, 10, 16 …
        let map = map()
        #expect(try map.place(address: 0, size: page, mask: 5 * page, anywhere: true) == bytes(2..<3))
        #expect(try map.place(address: 3 * page, size: page, mask: 5 * page, anywhere: true) == bytes(8..<9))
        #expect(try map.place(address: 0, size: page, mask: .max << 40, anywhere: true) == bytes(1..<2))
        expect(.noSpace) { () throws(VMError) in
            _ = try map.place(address: 0, size: page, mask: .max, anywhere: true)
        }
    }

    /// Six pages, of which every subset is mapped in turn, against every hint, length and mask.
    @Test func everySmallMapAgreesWithBruteForce() throws {
        let pages: UInt64 = 6
        for mapped: UInt64 in 0..<(1 << pages) {
            var map = map(pages: 1, pages + 1)
            for index in 0..<pages where (mapped >> index) & 1 == 1 {
                try map.insert(entry(index + 1..<index + 2, object: index + 1))
            }
            for mask: UInt64 in 0..<16 {
                var answers: [UInt64?] = []
                var expected: [UInt64?] = []
                for length: UInt64 in 1...pages + 1 {
                    for hint: UInt64 in 0...pages + 2 {
                        let range = try? map.place(
                            address: hint * page, size: length * page, mask: mask * page, anywhere: true)
                        answers.append(range.map { $0.lowerBound / page })
                        var start = max(hint, 1)
                        while start + length <= pages + 1,
                            start & mask != 0 || (mapped >> (start - 1)) & ((1 << length) - 1) != 0
                        {
                            start += 1
                        }
                        expected.append(start + length <= pages + 1 ? start : nil)
                    }
                }
                #expect(answers == expected, "mapped \(mapped), mask \(mask)")
            }
        }
    }
}
