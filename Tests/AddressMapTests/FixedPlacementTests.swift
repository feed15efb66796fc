import AddressMap
import Testing
import VMTypes

@Suite struct FixedPlacementTests {
    @Test func addressAndSizeAreRoundedIndependently() throws {
        #expect(try map().place(address: 2 * page - 1, size: 2, mask: 0, anywhere: false) == bytes(1..<2))
        #expect(try map().place(address: 3 * page + 5, size: page + 1, mask: 0, anywhere: false) == bytes(3..<5))
    }

    @Test(arguments: [false, true]) func sizeZeroIsInvalidArgument(anywhere: Bool) {
        expect(.invalidArgument) { () throws(VMError) in
            _ = try map().place(address: page, size: 0, mask: 0, anywhere: anywhere)
        }
    }

    @Test(arguments: [false, true]) func aSizeThatRoundsToZeroIsInvalidArgument(anywhere: Bool) {
        for size in [UInt64.max, top + 1] {
            expect(.invalidArgument) { () throws(VMError) in
                _ = try map().place(address: page, size: size, mask: 0, anywhere: anywhere)
            }
        }
    }

    @Test func aFixedRangeThatWrapsIsInvalidArgumentAlsoAfterRounding() {
        let cases: [(UInt64, UInt64)] = [
            (.max, 1), (top, 1), (top, page), (top - 1, page + 1), (2 * page, top), (page, top),
        ]
        for (address, size) in cases {
            expect(.invalidArgument) { () throws(VMError) in
                _ = try map().place(address: address, size: size, mask: 0, anywhere: false)
            }
        }
    }

    @Test func aFixedRangeThatWrapsIsInvalidAddressForAllocation() {
        expect(.invalidAddress) { () throws(VMError) in
            _ = try map().place(address: top, size: page, mask: 0, anywhere: false, wrapping: .invalidAddress)
        }
        expect(.invalidArgument) { () throws(VMError) in
            _ = try map().place(address: top, size: .max, mask: 0, anywhere: false, wrapping: .invalidAddress)
        }
    }

    @Test func aStartWithABitOfTheMaskIsNoSpace() throws {
        expect(.noSpace) { () throws(VMError) in
            _ = try map().place(address: 3 * page, size: page, mask: 2 * page - 1, anywhere: false)
        }
        // The mask is held against the rounded address.
        #expect(try map().place(address: 4 * page + 1, size: 1, mask: 2 * page - 1, anywhere: false) == bytes(4..<5))
    }

    @Test func outsideTheBoundsIsInvalidAddress() throws {
        let map = map(pages: 10, 20)
        for (first, count) in [(9, 1), (9, 2), (20, 1), (19, 2), (0, 1), (8, 20)] as [(UInt64, UInt64)] {
            expect(.invalidAddress) { () throws(VMError) in
                _ = try map.place(address: first * page, size: count * page, mask: 0, anywhere: false)
            }
        }
        #expect(try map.place(address: 10 * page, size: 10 * page, mask: 0, anywhere: false) == bytes(10..<20))
    }

    @Test func pageZeroIsNeverHandedOut() throws {
        let map = AddressMap(bounds: 0..<UInt64.max)
        #expect(map.bounds == page..<top)
        expect(.invalidAddress) { () throws(VMError) in
            _ = try map.place(address: 0, size: page, mask: 0, anywhere: false)
        }
        #expect(try map.place(address: 0, size: page, mask: 0, anywhere: true) == bytes(1..<2))
        expect(.noSpace) { () throws(VMError) in
            _ = try AddressMap(bounds: 0..<page).place(address: 0, size: 1, mask: 0, anywhere: true)
        }
        #expect(AddressMap(bounds: 1..<2).bounds.isEmpty)
        #expect(AddressMap(bounds: UInt64.max..<UInt64.max).bounds.isEmpty)
    }

    @Test func anyOverlapIsNoSpaceAndTouchingIsFine() throws {
        var map = map()
        try map.insert(entry(10..<12))
        for (first, count) in [(10, 1), (11, 1), (9, 2), (11, 2), (8, 10), (10, 2)] as [(UInt64, UInt64)] {
            expect(.noSpace) { () throws(VMError) in
                _ = try map.place(address: first * page, size: count * page, mask: 0, anywhere: false)
            }
        }
        #expect(try map.place(address: 9 * page, size: page, mask: 0, anywhere: false) == bytes(9..<10))
        #expect(try map.place(address: 12 * page, size: page, mask: 0, anywhere: false) == bytes(12..<13))
    }

    @Test func ofTwoFaultsTheEarlierAnswers() throws {
        var map = map(pages: 10, 20)
        try map.insert(entry(15..<16))
        let calls: [(KernReturn, address: UInt64, size: UInt64, mask: UInt64)] = [
            (.invalidArgument, 21 * page, 0, .max),  // size 0 before mask and bounds
            (.invalidArgument, .max, .max, .max),  // rounds to 0 before wraps, mask and bounds
            (.invalidArgument, top, page, .max),  // wraps before mask and bounds
            (.noSpace, 21 * page, page, .max),  // mask before bounds
            (.invalidAddress, 14 * page, 10 * page, 0),  // bounds before overlap
            (.noSpace, 14 * page, 3 * page, 0),  // overlap
        ]
        for (code, address, size, mask) in calls {
            expect(code) { () throws(VMError) in
                _ = try map.place(address: address, size: size, mask: mask, anywhere: false)
            }
        }
        // `vm_allocate` tells the two apart that vm_map answers alike.
        expect(.invalidArgument) { () throws(VMError) in
            _ = try map.place(address: .max, size: .max, mask: .max, anywhere: false, wrapping: .invalidAddress)
        }
    }

    @Test func errorsNameTheRangeAndWhatStandsInTheWay() throws {
        var map = map()
        try map.insert(entry(2..<4, object: 7, offset: 1))
        let taken = #expect(throws: VMError.self) {
            try map.place(address: page, size: 2 * page, mask: 0, anywhere: false)
        }
        #expect(
            taken?.message
                == "[0x1000, 0x3000) is taken by [0x2000, 0x4000) (object #7 from offset 0x1000, rw-, at most rwx)")
        let full = #expect(throws: VMError.self) {
            try map.place(address: 0, size: 200 * page, mask: 0xffff, anywhere: true)
        }
        #expect(
            full?.message
                == "no gap of 0xc8000 bytes under mask 0xffff from 0x0 up within [0x1000, 0x64000) (entries: 1)")
    }
}
