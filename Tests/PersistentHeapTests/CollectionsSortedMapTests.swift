import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// A value of 900 bytes: few fit into a node.
struct WideValue: Persistable, PersistentLeaf, Equatable, RandomElement, RangeReplaceable {
    var words: InlineArray<112, Int>

    init(_ number: Int) { words = InlineArray(repeating: number) }
    static func random(using g: inout SeededGenerator) -> WideValue { WideValue(Int.random(in: 0..<100, using: &g)) }
    mutating func extend(by other: WideValue) { for index in words.indices { words[index] &+= other.words[index] } }
    static func == (left: Self, right: Self) -> Bool { left.words.indices.allSatisfy { left.words[$0] == right.words[$0] } }
}

@Suite struct CollectionsSortedMapTests {
    @Test(arguments: 0..<CollectionsBudget.runs) func numbersAsSortedDictionary(_ seed: Int) throws {
        try CollectionRun<KeyedModel<PersistentSortedMap<Int, Int>>>.run(seed: UInt64(seed))
    }

    @Test(arguments: 0..<CollectionsBudget.runs) func textsAsSortedDictionary(_ seed: Int) throws {
        try CollectionRun<KeyedModel<PersistentSortedMap<String, String>>>.run(seed: UInt64(seed))
    }

    /// Four pairs a leaf, so that there are many levels.
    @Test(arguments: 0..<CollectionsBudget.runs) func wideValuesAsSortedDictionary(_ seed: Int) throws {
        try CollectionRun<KeyedModel<PersistentSortedMap<UInt16, WideValue>>>.run(seed: UInt64(seed))
    }

    @Test func rangesAreOfKeys() throws {
        let temporary = try TemporaryHeap()
        let map = try temporary.heap.root("map", of: PersistentSortedMap<Int, Int>.self)
        #expect(map.first == nil && map.last == nil && map.startIndex == map.endIndex && map.entries(from: 3).isEmpty)
        for number in stride(from: 0, to: 3000, by: 3) { map[number] = -number }
        #expect(map.entries(in: 10..<20).map(\.key) == [12, 15, 18])
        #expect(map.entries(in: 12...18).map(\.key) == [12, 15, 18] && map.entries(in: 12..<18).map(\.key) == [12, 15])
        #expect(map.entries(from: 2990).map(\.key) == [2991, 2994, 2997] && map.entries(in: 2998...5000).isEmpty)
        #expect(map.first?.key == 0 && map.last?.key == 2997 && map.keys.contains(999) && !map.keys.contains(1000))
        #expect(map.index(forKey: 12)! < map.index(forKey: 2700)! && map.index(forKey: 12)! < map.endIndex)
        #expect(map.index(before: map.endIndex) == map.index(forKey: 2997))
        #expect(map.reversed().prefix(2).map(\.key) == [2997, 2994])
        #expect(try map.popFirst()?.key == 0 && map.popLast()?.key == 2997 && map.count == 998)
        #expect(map.values.prefix(2).elementsEqual([-3, -6]) && map[3, default: 1] == -3 && map[4, default: 1] == 1)
    }

    @Test func textsAreOrderedByTheirBytes() throws {
        let temporary = try TemporaryHeap()
        let map = try temporary.heap.root("map", of: PersistentSortedMap<String, Int>.self)
        let texts = ["", "Z", "a", "a long text that needs a block", "a long text that needs a block of its own", "e\u{301}", "é", "語", "🦉"]
        for (number, text) in texts.enumerated().shuffled() { map[text] = number }
        #expect(map.keys.map { Array($0.utf8) } == texts.map { Array($0.utf8) } && map.values.elementsEqual(texts.indices))
    }

    @Test func ascendingKeysFillTheirNodes() throws {
        let temporary = try TemporaryHeap(capacity: 1 << 28)
        let map = try temporary.heap.root("map", of: PersistentSortedMap<Int, Int>.self)
        for number in 0..<100_000 { map[number] = number }
        #expect(map.byteCount < 100_000 * 16 * 11 / 10 && map.check().isEmpty)
        for number in (0..<100_000).shuffled() { try map.remove(number) }
        #expect(map.isEmpty && map.byteCount < 100 && leaks(temporary.heap).isEmpty)
    }

    @Test func notANumberComesAfterTheNumbers() throws {
        let temporary = try TemporaryHeap()
        let map = try temporary.heap.root("map", of: PersistentSortedMap<Double, Int>.self)
        for (number, key) in [Double.nan, 1, -.infinity, .infinity, -0.0, 0, -.nan, -3.5].enumerated() { map[key] = number }
        #expect(map.count == 6 && map.values.map { $0 } == [2, 7, 5, 1, 3, 6] && map[.nan] == 6)
    }

    @Test func changesAreKeysAddedRemovedAndChanged() throws {
        let temporary = try TemporaryHeap()
        let old = try temporary.heap.root("old", of: PersistentSortedMap<Int, String>.self)
        let new = try temporary.heap.root("new", of: PersistentSortedMap<Int, String>.self)
        for number in 0..<1000 {
            if number % 10 != 0 { old[number] = "\(number)" }
            if number % 7 != 0 { new[number] = number % 3 == 0 ? "\(number)" : "new" }
        }
        let changes = new.changes(from: old)
        #expect(changes.added.map(\.key) == (0..<1000).filter { $0 % 10 == 0 && $0 % 7 != 0 })
        #expect(changes.removed.map(\.key) == (0..<1000).filter { $0 % 10 != 0 && $0 % 7 == 0 })
        #expect(changes.changed.map(\.key) == (0..<1000).filter { $0 % 10 != 0 && $0 % 7 != 0 && $0 % 3 != 0 })
        #expect(new.changes(from: new).isEmpty && new == new && new != old)
    }
}
