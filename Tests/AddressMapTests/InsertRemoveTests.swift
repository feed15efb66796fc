import AddressMap
import Testing
import VMTypes

@Suite struct InsertRemoveTests {
    @Test func lookupFindsTheContainingEntryAndTheNext() throws {
        var map = map()
        try map.insert(entry(5..<7))
        #expect(map.lookup(5 * page - 1) == nil)
        #expect(map.lookup(5 * page) == entry(5..<7))
        #expect(map.lookup(7 * page - 1) == entry(5..<7))
        #expect(map.lookup(7 * page) == nil)
        #expect(map.lookupOrNext(0) == entry(5..<7))
        #expect(map.lookupOrNext(7 * page) == nil)
        #expect(map.lookupOrNext(.max) == nil)
        #expect(map.entries(in: bytes(6..<50)) == [entry(5..<7)])
        #expect(map.pieces(in: bytes(6..<50)) == [entry(6..<7)])
        #expect(map.entries(in: bytes(7..<50)).isEmpty)
        #expect(map.entries(in: bytes(6..<6)).isEmpty)
    }

    @Test func theFirstHoleIsClippedToTheRange() throws {
        var map = map()
        try map.insert(entry(5..<7))
        try map.insert(entry(8..<9))
        #expect(map.firstHole(in: bytes(5..<7)) == nil)
        #expect(map.firstHole(in: bytes(4..<7)) == bytes(4..<5))
        #expect(map.firstHole(in: bytes(6..<9)) == bytes(7..<8))
        #expect(map.firstHole(in: bytes(8..<12)) == bytes(9..<12))
        #expect(map.firstHole(in: bytes(30..<31)) == bytes(30..<31))
        #expect(map.firstHole(in: bytes(30..<30)) == nil)
    }

    @Test func equalNeighboursWithContiguousOffsetsMerge() throws {
        var map = map()
        try map.insert(entry(1..<2, object: 3, offset: 0))
        try map.insert(entry(3..<4, object: 3, offset: 2))
        #expect(map.count == 2)
        try map.insert(entry(2..<3, object: 3, offset: 1))
        #expect(Array(map.entries) == [entry(1..<4, object: 3)])
        try map.insert(entry(4..<5, object: 3, offset: 9))
        try map.insert(entry(5..<6, object: 4, offset: 10))
        try map.insert(entry(6..<7))
        try map.insert(entry(7..<8))
        #expect(map.entries.map(\.range) == [bytes(1..<4), bytes(4..<5), bytes(5..<6), bytes(6..<8)])
    }

    @Test func neighboursThatDifferInAnAttributeStayApart() throws {
        let changes: [(inout MapEntry) -> Void] = [
            { $0.current = .read }, { $0.maximum = .default }, { $0.inheritance = .share }, { $0.copied = true },
            { $0.wiredCount = 1 }, { $0.backing = .object(ObjectID(1), offset: 0) },
        ]
        for change in changes {
            var map = map()
            var other = entry(6..<7)
            change(&other)
            try map.insert(entry(5..<6))
            try map.insert(other)
            try map.insert(entry(7..<8))
            #expect(map.count == 3)
        }
    }

    @Test func malformedEntriesAreInvalidArgument() {
        let changes: [(inout MapEntry) -> Void] = [
            { $0.end = $0.start }, { $0.end = $0.start - page }, { $0.start += 1 }, { $0.end -= 1 },
            { $0.current = Protection(rawValue: 8) }, { $0.maximum = Protection(rawValue: -1) },
            { $0.maximum = .read }, { $0.wiredCount = -1 }, { $0.backing = .object(ObjectID(1), offset: 1) },
            { $0.backing = .object(ObjectID(1), offset: top) },
        ]
        for (index, change) in changes.enumerated() {
            var map = map()
            var malformed = entry(5..<7)
            change(&malformed)
            expect(.invalidArgument) { () throws(VMError) in try map.insert(malformed) }
            #expect(map.isEmpty, "\(index)")
        }
    }

    @Test func entriesOutsideTheBoundsOrOverOthersAreRefused() throws {
        var map = map(pages: 10, 20)
        expect(.invalidAddress) { () throws(VMError) in try map.insert(entry(9..<11)) }
        expect(.invalidAddress) { () throws(VMError) in try map.insert(entry(19..<21)) }
        try map.insert(entry(12..<14))
        let before = map
        for range in [12..<14, 11..<13, 13..<15, 10..<20, 12..<13] as [Range<UInt64>] {
            expect(.noSpace) { () throws(VMError) in try map.insert(entry(range)) }
        }
        #expect(map == before)
    }

    @Test func removingClipsAndAdvancesOffsets() throws {
        var map = map()
        try map.insert(entry(10..<20, object: 1, offset: 5))
        #expect(map.remove(bytes(13..<15)) == [entry(13..<15, object: 1, offset: 8)])
        #expect(Array(map.entries) == [entry(10..<13, object: 1, offset: 5), entry(15..<20, object: 1, offset: 10)])
        #expect(
            map.remove(bytes(12..<16))
                == [entry(12..<13, object: 1, offset: 7), entry(15..<16, object: 1, offset: 10)])
        #expect(map.count == 2)
        #expect(map.remove(bytes(0..<100)).count == 2)
        #expect(map.isEmpty)
    }

    @Test func removingHolesOrNothingRemovesNothing() throws {
        var map = map()
        try map.insert(entry(10..<20))
        let before = map
        #expect(map.remove(bytes(30..<40)).isEmpty)
        #expect(map.remove(bytes(15..<15)).isEmpty)
        #expect(map.remove(0..<page).isEmpty)
        #expect(map.remove(top..<top).isEmpty)
        #expect(map == before)
    }

    @Test func aCopyKeepsWhatItHeld() throws {
        var map = map()
        for index: UInt64 in 0..<40 { try map.insert(entry(index * 2 + 1..<index * 2 + 2)) }
        let copy = map
        map.remove(bytes(1..<60))
        #expect(copy.count == 40)
        #expect(copy.entries.map(\.start) == (0..<40).map { ($0 * 2 + 1) * page })
        #expect(map.count == 10)
    }
}
