import TestSupport
import Testing
import Varve

@testable import PersistentHeap

enum NestedChange: Sendable {
    case append(String, String), removeKey(String), replace(String, [String]), removeElement(String, Int), clear(String), removeAll
}

/// A dictionary of arrays of texts beside one of Swift's.
struct NestedModel: CollectionModel {
    typealias Nested = PersistentDictionary<String, PersistentArray<String>>
    let map: Nested
    let space: HeapSpace

    static var empty: [String: [String]] { [:] }

    init(_ heap: PersistentHeap) throws {
        map = try heap.root("map", of: Nested.self)
        space = heap.space
    }

    static func random(using g: inout SeededGenerator) -> NestedChange {
        let key = "key \(Int.random(in: 0..<20, using: &g))" + (Bool.random(using: &g) ? "" : " with a long name")
        switch Int.random(in: 0..<16, using: &g) {
        case 0..<8: return .append(key, randomText(using: &g))
        case 8, 9: return .removeKey(key)
        case 10, 11: return .replace(key, (0..<Int.random(in: 0..<6, using: &g)).map { _ in randomText(using: &g) })
        case 12, 13: return .removeElement(key, Int.random(in: 0..<1000, using: &g))
        case 14: return .clear(key)
        default: return Int.random(in: 0..<6, using: &g) == 0 ? .removeAll : .append(key, "x")
        }
    }

    func perform(_ change: NestedChange, _ expected: inout [String: [String]]) throws -> String? {
        switch change {
        case .append(let key, let text):
            try map.collection(forKey: key).append(text)
            expected[key, default: []].append(text)
        case .removeKey(let key):
            if try map.remove(key) != (expected.removeValue(forKey: key) != nil) { return "it was there or not" }
        case .replace(let key, let texts):
            let array = try PersistentArray<String>(in: space)
            try array.append(contentsOf: texts)
            map[key] = array
            expected[key] = texts
        case .removeElement(let key, let place):
            guard let count = expected[key]?.count, count > 0 else { return nil }
            let removed = try map[key]!.remove(at: place % count)
            if removed != expected[key]!.remove(at: place % count) { return "it removed \(removed)" }
        case .clear(let key):
            try map[key]?.removeAll()
            expected[key]?.removeAll()
        case .removeAll:
            try map.removeAll()
            expected.removeAll()
        }
        return nil
    }

    func compare(_ expected: [String: [String]]) -> String? {
        map.count == expected.count && map.allSatisfy { expected[$0.key] == Array($0.value) } ? nil : "\(map) for \(expected)"
    }

    func check() -> [String] { map.check() }
}

@Suite struct CollectionsNestedTests {
    @Test(arguments: 0..<CollectionsBudget.runs) func arraysInADictionary(_ seed: Int) throws {
        try CollectionRun<NestedModel>.run(seed: UInt64(seed))
    }

    @Test func aCollectionHasOneOwner() throws {
        let temporary = try TemporaryHeap()
        let space = temporary.heap.space
        let map = try temporary.heap.root("map", of: PersistentSortedMap<Int, PersistentSet<String>>.self)
        let set = try PersistentSet<String>(in: space)
        try set.formUnion(["a", "b", "a text that takes a block"])
        try map.setValue(set, forKey: 1)
        let error = #expect(throws: HeapError.self) { try map.setValue(set, forKey: 2) }
        #expect(error?.code == .invalid && map.count == 1 && leaks(temporary.heap).isEmpty)
        // It is there already.
        try map.setValue(set, forKey: 1)
        #expect(map[1]?.count == 3 && map.check().isEmpty)
        try map.remove(1)
        #expect(leaks(temporary.heap).isEmpty)
    }

    @Test func releasingAnUnownedCollectionFreesIt() throws {
        let temporary = try TemporaryHeap()
        let array = try PersistentArray<PersistentArray<String>>(in: temporary.heap.space)
        for _ in 0..<10 { try array.appendNew().append(contentsOf: ["one", "a text that takes a block of its own"]) }
        array.swapAt(0, 9)
        try array.remove(at: 3)
        #expect(array.count == 9 && array.map(\.count).reduce(0, +) == 18 && array.check().isEmpty)
        #expect(!leaks(temporary.heap).isEmpty)
        try array.release()
        #expect(leaks(temporary.heap).isEmpty)
    }

    @Test func puttingACollectionBackWhereItIsChangesNothing() throws {
        let temporary = try TemporaryHeap()
        let map = try temporary.heap.root("map", of: PersistentDictionary<Int, PersistentArray<Int>>.self)
        try map.collection(forKey: 1).append(contentsOf: [3, 1, 2])
        map[1]!.sort()
        map[1] = map[1]
        #expect(map[1].map { Array($0) } == [1, 2, 3] && map.check().isEmpty && leaks(temporary.heap).isEmpty)
        try temporary.heap.commit()
    }

    @Test func useAfterReleaseStops() async {
        await #expect(processExitsWith: .failure) {
            let temporary = try TemporaryHeap()
            let array = try PersistentArray<Int>(in: temporary.heap.space)
            try array.append(1)
            try array.release()
            _ = array.count
        }
    }

    @Test func setsAreAsSets() throws {
        let temporary = try TemporaryHeap()
        let set = try temporary.heap.root("set", of: PersistentSet<Int>.self)
        let other = try temporary.heap.root("other", of: PersistentSet<Int>.self)
        var expected: Set<Int> = []
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<20_000 {
            let number = Int.random(in: 0..<3000, using: &generator)
            if Int.random(in: 0..<3, using: &generator) == 0 {
                #expect(try set.remove(number) == (expected.remove(number) != nil))
            } else {
                #expect(try set.insert(number) == expected.insert(number).inserted)
            }
        }
        #expect(Set(set) == expected && set.count == expected.count && set.check().isEmpty)
        #expect((0..<3000).allSatisfy { set.contains($0) == expected.contains($0) })
        try other.formUnion(expected)
        #expect(other == set)
        try other.subtract([expected.first!])
        try other.insert(-1)
        let changes = try set.changes(from: other)
        #expect(changes.added == [expected.first!] && changes.removed == [-1])
        try set.removeAll()
        #expect(set.isEmpty && set.check().isEmpty)
        try temporary.heap.commit(declaredOnly: true)
    }

    @Test func bytesAreKeysAndValues() throws {
        let temporary = try TemporaryHeap()
        let map = try temporary.heap.root("map", of: PersistentDictionary<[UInt8], [UInt8]>.self)
        for length in 0..<200 { map[[UInt8](repeating: 7, count: length)] = (0..<length).map { UInt8($0) } }
        #expect(map.count == 200 && map.check().isEmpty)
        #expect((0..<200).allSatisfy { length in map[[UInt8](repeating: 7, count: length)] == (0..<length).map { UInt8($0) } })
        #expect(map[[7, 7, 8]] == nil)
        try map.removeAll()
        #expect(leaks(temporary.heap).isEmpty)
    }

    @Test func anotherProcessFindsAndChangesWhatIsThere() async throws {
        let folder = TemporaryFolder("collections", inMemory: true)
        let path = folder.path + "/heap.varve"
        var options = PersistentHeap.Options()
        options.capacity = 64 << 20
        let heap = try PersistentHeap.open(path, options: options)
        let words = try heap.root("words", of: PersistentDictionary<String, PersistentArray<Int>>.self)
        for number in 0..<5000 { try words.collection(forKey: "word \(number % 1000) of some length").append(number) }
        try heap.commit(declaredOnly: true)
        try heap.close()
        await #expect(processExitsWith: .success) { [path = path as String] in
            let heap = try PersistentHeap.open(path)
            let words = try heap.root("words", of: PersistentDictionary<String, PersistentArray<Int>>.self)
            precondition(words.count == 1000 && words.check().isEmpty && leaks(heap).isEmpty)
            for number in 0..<1000 {
                let array = words["word \(number) of some length"]!
                precondition(Array(array) == (0..<5).map { $0 * 1000 + number })
                if number % 2 == 0 { try words.remove("word \(number) of some length") } else { try array.append(-1) }
            }
            try heap.commit(declaredOnly: true)
            try words.removeAll()
            // What is not committed is lost.
        }
        let again = try PersistentHeap.open(path)
        defer { try? again.close() }
        let found = try again.root("words", of: PersistentDictionary<String, PersistentArray<Int>>.self)
        #expect(found.count == 500 && found.check().isEmpty && leaks(again).isEmpty)
        #expect((0..<500).allSatisfy { found["word \($0 * 2 + 1) of some length"]?.last == -1 })
    }
}
