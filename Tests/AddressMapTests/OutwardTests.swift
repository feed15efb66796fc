import AddressMap
import Testing
import VMTypes

@Suite struct OutwardTests {
    @Test func addressAndEndAreRoundedOutward() throws {
        #expect(try map().outward(address: page - 1, size: 2) == bytes(0..<2))
        #expect(try map().outward(address: 2 * page, size: page) == bytes(2..<3))
        #expect(try AddressMap.outward(address: 5, size: 1) == bytes(0..<1))
        #expect(try map().outward(address: 0, size: top) == 0..<top)
    }

    @Test func sizeZeroIsNoRange() throws {
        #expect(try map().outward(address: 5, size: 0) == nil)
        #expect(try map().outward(address: .max, size: 0) == nil)
    }

    @Test func overflowBeforeOrAfterRoundingIsInvalidArgument() {
        for (address, size) in [(.max, 1), (1, .max), (top, page), (top, 1), (0, top + 1)] as [(UInt64, UInt64)] {
            expect(.invalidArgument) { () throws(VMError) in
                _ = try map().outward(address: address, size: size)
            }
        }
    }
}
