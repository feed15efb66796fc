import TestSupport
import Testing
import VMTypes

@testable import AddressMap

@Suite struct ManyEntriesTests {
    private static let number: UInt64 = 100_000

    /// One page in three is mapped, to objects that don't merge, in random order.
    private func scattered() throws -> AddressMap {
        var map = AddressMap(bounds: 0..<1 << 47)
        var random = SeededGenerator(seed: 0x6d61_6e79)
        for index in (0..<Self.number).shuffled(using: &random) {
            try map.insert(entry(3 * index + 1..<3 * index + 2, object: index))
        }
        return map
    }

    @Test func aHundredThousandEntriesArePlacedFoundClippedAndRemoved() throws {
        var map = try scattered()
        #expect(map.count == Int(Self.number))
        #expect(map.tree.violations().isEmpty)
        let end = 3 * Self.number - 1
        #expect(try map.place(address: 0, size: 2 * page, mask: 0, anywhere: true) == bytes(2..<4))
        #expect(try map.place(address: 0, size: 3 * page, mask: 0, anywhere: true) == bytes(end..<end + 3))
        #expect(map.lookup(3 * 77_777 * page + page)?.backing.object == ObjectID(77_777))
        #expect(map.lookup(3 * 77_777 * page) == nil)

        let before = map
        var random = SeededGenerator(seed: 0x636c_6970)
        for index in (0..<Self.number).shuffled(using: &random) {
            #expect(map.remove(bytes(3 * index + 1..<3 * index + 2)).count == 1)
            if index % 5_000 == 0 { #expect(map.tree.violations().isEmpty) }
        }
        #expect(map.isEmpty && map.tree.isEmpty)
        #expect(before.count == Int(Self.number) && before.violations().isEmpty)
    }

    @Test func aWholeRangeIsProtectedAndMergesAgain() throws {
        var map = AddressMap(bounds: 0..<1 << 47)
        try map.insert(entry(1..<20_001))
        for index: UInt64 in 0..<10_000 {
            try map.protect(bytes(2 * index + 1..<2 * index + 2), setMaximum: false, .read)
        }
        #expect(map.count == 20_000)
        #expect(map.violations().isEmpty)
        #expect(try map.protect(bytes(1..<20_001), setMaximum: false, .default).count == 10_000)
        #expect(Array(map.entries) == [entry(1..<20_001)])
    }

    @Test func theInvariantCheckSeesAFault() {
        var tree = EntryTree(entries: [entry(1..<2), entry(5..<6)])
        #expect(tree.violations().isEmpty)
        tree.entries[1] = entry(4..<6)
        #expect(tree.violations().count == 1)
        tree.entries[1] = entry(1..<6)
        #expect(!tree.violations().isEmpty)
    }
}
