import TestSupport
import Testing
import Varve

@testable import PersistentHeap

enum KeyedChange<Key: Sendable, Value: Sendable>: Sendable {
    case set(Key, Value), setNil(Key), update(Key, Value), remove(Key), append(Key, Value), many([Key], Value), removeMany([Key])
    case merge([Key], Value), reserve(Int), shrink, removeAll(Bool), removeSome(Int), removeAtIndex(Key)
}

/// What dictionaries and sorted maps have in common for the tests.
protocol KeyedCollection: PersistentContainer {
    associatedtype Key: ModelKey
    associatedtype Value: PersistentLeaf & Equatable & RandomElement & RangeReplaceable
    subscript(key: Key) -> Value? { get nonmutating set }
    subscript(key: Key, default value: @autoclosure () -> Value) -> Value { get nonmutating set }
    var count: Int { get }
    func updateValue(_ value: Value, forKey key: Key) throws(HeapError) -> Value?
    func removeValue(forKey key: Key) throws(HeapError) -> Value?
    func contains(_ key: Key) -> Bool
    func pairs() -> [(key: Key, value: Value)]
    func other(_ change: KeyedChange<Key, Value>) throws -> Bool
    func removeEverything(keepingCapacity: Bool) throws
    func checkOrder() -> String?
}

/// A value that a modification in place can make longer.
protocol RangeReplaceable { mutating func extend(by other: Self) }
extension String: RangeReplaceable { mutating func extend(by other: String) { self += other } }
extension Int: RangeReplaceable { mutating func extend(by other: Int) { self &+= other } }

extension PersistentDictionary: KeyedCollection
where Key: ModelKey, Value: PersistentLeaf & Equatable & RandomElement & RangeReplaceable {
    func pairs() -> [(key: Key, value: Value)] { map { $0 } }
    func removeEverything(keepingCapacity: Bool) throws { try removeAll(keepingCapacity: keepingCapacity) }
    func other(_ change: KeyedChange<Key, Value>) throws -> Bool {
        switch change {
        case .merge(let keys, let value):
            try merge(keys.map { ($0, value) }) { old, new in
                var sum = old
                sum.extend(by: new)
                return sum
            }
        case .reserve(let minimum): try reserveCapacity(minimum)
        case .shrink: try shrink()
        case .removeAtIndex(let key):
            if let index = index(forKey: key) {
                guard self[index].key.plain == key.plain else { return false }
                try remove(at: index)
            }
        default: break
        }
        return true
    }
    func checkOrder() -> String? {
        var index = startIndex
        for key in keys {
            if index >= endIndex || self.index(forKey: key) != index { return "the index of \(key) is not \(index)" }
            self.formIndex(after: &index)
        }
        return index == endIndex ? nil : "there is more after the last key"
    }
}

extension PersistentSortedMap: KeyedCollection
where Key: ModelKey, Value: PersistentLeaf & Equatable & RandomElement & RangeReplaceable {
    func pairs() -> [(key: Key, value: Value)] { map { $0 } }
    func removeEverything(keepingCapacity: Bool) throws { try removeAll() }
    func other(_ change: KeyedChange<Key, Value>) throws -> Bool {
        switch change {
        case .merge(let keys, let value): for key in keys { self[key, default: value].extend(by: value) }
        case .removeAtIndex(let key):
            if let index = index(forKey: key) {
                guard self[index].key.plain == key.plain else { return false }
                try remove(key)
            }
        default: break
        }
        return true
    }
    func checkOrder() -> String? {
        let forward = map(\.key.plain)
        if !forward.elementsEqual(reversed().map(\.key.plain).reversed()) { return "it is another one backwards" }
        for (key, next) in zip(keys, keys.dropFirst()) where next.order(ofStored: storedKey(index(forKey: key)!), in: space) >= 0 {
            return "\(key) is before \(next)"
        }
        return nil
    }
}

struct KeyedModel<Map: KeyedCollection>: CollectionModel {
    typealias Expected = [Map.Key.Plain: Map.Value]
    let map: Map

    static var empty: Expected { [:] }

    init(_ heap: PersistentHeap) throws { map = try heap.root("map", of: Map.self) }

    static func random(using g: inout SeededGenerator) -> KeyedChange<Map.Key, Map.Value> {
        func key() -> Map.Key { Map.Key.random(using: &g) }
        func value() -> Map.Value { Map.Value.random(using: &g) }
        func keys() -> [Map.Key] { (0..<Int.random(in: 0..<200, using: &g)).map { _ in key() } }
        switch Int.random(in: 0..<40, using: &g) {
        case 0..<6: return .set(key(), value())
        case 6..<10: return .update(key(), value())
        case 10..<14: return .append(key(), value())
        case 14..<18: return .many(keys(), value())
        case 18..<21: return .remove(key())
        case 21, 22: return .setNil(key())
        case 23..<27: return .removeMany(keys())
        case 27, 28: return .merge(keys(), value())
        case 29: return .reserve(Int.random(in: 0..<6000, using: &g))
        case 30: return .shrink
        case 31: return .removeAll(Bool.random(using: &g))
        case 32, 33: return .removeAtIndex(key())
        default: return .many(keys(), value())
        }
    }

    func perform(_ change: KeyedChange<Map.Key, Map.Value>, _ expected: inout Expected) throws -> String? {
        switch change {
        case .set(let key, let value):
            map[key] = value
            expected[key.plain] = value
            if map[key] != value { return "it reads \(String(describing: map[key]))" }
        case .setNil(let key):
            map[key] = nil
            expected[key.plain] = nil
            if map.contains(key) { return "it is still there" }
        case .update(let key, let value):
            let old = try map.updateValue(value, forKey: key)
            if old != expected.updateValue(value, forKey: key.plain) { return "the old value is \(String(describing: old))" }
        case .remove(let key):
            let old = try map.removeValue(forKey: key)
            if old != expected.removeValue(forKey: key.plain) { return "the old value is \(String(describing: old))" }
        case .append(let key, let value):
            map[key, default: value].extend(by: value)
            expected[key.plain, default: value].extend(by: value)
        case .many(let keys, let value):
            for key in keys {
                map[key] = value
                expected[key.plain] = value
            }
        case .removeMany(let keys):
            for key in keys where try map.removeValue(forKey: key) != expected.removeValue(forKey: key.plain) { return "\(key) was another" }
        case .merge(let keys, let value):
            for key in keys {
                if Map.self is any SortedForTests.Type || expected[key.plain] != nil {
                    expected[key.plain, default: value].extend(by: value)
                } else {
                    expected[key.plain] = value
                }
            }
            _ = try map.other(change)
        case .removeAll(let keeping):
            try map.removeEverything(keepingCapacity: keeping)
            expected.removeAll()
        case .removeAtIndex(let key):
            if try !map.other(change) { return "its index leads to another key" }
            expected[key.plain] = nil
        case .reserve, .shrink, .removeSome: _ = try map.other(change)
        }
        return map.count == expected.count ? nil : "\(map.count) keys for \(expected.count)"
    }

    func compare(_ expected: Expected) -> String? {
        let pairs = map.pairs()
        if pairs.count != expected.count { return "\(pairs.count) pairs for \(expected.count)" }
        for (key, value) in pairs where expected[key.plain] != value { return "\(key) has \(value) for \(String(describing: expected[key.plain]))" }
        return map.checkOrder()
    }

    func check() -> [String] { map.check() }
}

/// Marks sorted maps, whose merge in these tests sums also for new keys.
protocol SortedForTests {}
extension PersistentSortedMap: SortedForTests {}

@Suite struct CollectionsDictionaryTests {
    @Test(arguments: 0..<CollectionsBudget.runs) func numbersAsDictionary(_ seed: Int) throws {
        try CollectionRun<KeyedModel<PersistentDictionary<Int, Int>>>.run(seed: UInt64(seed))
    }

    @Test(arguments: 0..<CollectionsBudget.runs) func textsAsDictionary(_ seed: Int) throws {
        try CollectionRun<KeyedModel<PersistentDictionary<String, String>>>.run(seed: UInt64(seed))
    }

    @Test(arguments: 0..<CollectionsBudget.runs) func paddedKeysAsDictionary(_ seed: Int) throws {
        try CollectionRun<KeyedModel<PersistentDictionary<PaddedKey, Int>>>.run(seed: UInt64(seed))
    }

    @Test(arguments: 0..<CollectionsBudget.runs) func keysOfFewHashesAsDictionary(_ seed: Int) throws {
        try CollectionRun<KeyedModel<PersistentDictionary<ClashingKey, Int>>>.run(seed: UInt64(seed), steps: CollectionsBudget.steps / 3)
    }

    @Test func paddingIsNoPartOfAKey() throws {
        let temporary = try TemporaryHeap()
        let dictionary = try temporary.heap.root("keys", of: PersistentDictionary<PaddedKey, Int>.self)
        func key(padding: UInt8) -> PaddedKey {
            withUnsafeTemporaryAllocation(byteCount: 8, alignment: 4) { bytes in
                bytes.initializeMemory(as: UInt8.self, repeating: padding)
                bytes.storeBytes(of: 7, as: UInt8.self)
                bytes.storeBytes(of: 99, toByteOffset: 4, as: Int32.self)
                return bytes.load(as: PaddedKey.self)
            }
        }
        dictionary[key(padding: 0)] = 1
        dictionary[key(padding: 0xff)] = 2
        #expect(dictionary.count == 1 && dictionary[key(padding: 0x55)] == 2)
    }

    @Test func insertionsDirtyFewPages() throws {
        let temporary = try TemporaryHeap(capacity: 1 << 30)
        let dictionary = try temporary.heap.root("numbers", of: PersistentDictionary<Int, Int>.self)
        for number in 0..<40_000 { dictionary[number] = number }
        try temporary.heap.commit()
        var most = 0
        for number in 40_000..<40_500 {
            temporary.heap.space.tables.takeDeclared { _, _ in }
            dictionary[number] = 1
            var pages = 0
            temporary.heap.space.tables.takeDeclared { _, count in pages += count }
            most = max(most, pages)
        }
        // A segment of 32 KiB that splits into two, the directory, the header and what the allocator notes.
        #expect(most < 40)
        try temporary.heap.commit()
        #expect(dictionary.count == 40_500 && dictionary.check().isEmpty)
    }

    @Test func reservingAllocatesAtOnce() throws {
        let temporary = try TemporaryHeap(capacity: 1 << 28)
        let dictionary = try temporary.heap.root("numbers", of: PersistentDictionary<Int, Int>.self)
        dictionary[-1] = 1
        try dictionary.reserveCapacity(100_000)
        let before = dictionary.byteCount
        for number in 0..<100_000 { dictionary[number] = number }
        #expect(dictionary.byteCount < before + before / 4)
        #expect(dictionary[-1] == 1 && dictionary.count == 100_001 && dictionary.check().isEmpty)
        for number in 1000..<100_000 { try dictionary.remove(number) }
        try dictionary.shrink()
        #expect(dictionary.byteCount < before / 20 && dictionary.count == 1001 && dictionary.check().isEmpty)
        #expect((0..<1000).allSatisfy { dictionary[$0] == $0 })
        #expect(leaks(temporary.heap).isEmpty)
    }

    @Test func changesAreKeysAddedRemovedAndChanged() throws {
        let temporary = try TemporaryHeap()
        let old = try temporary.heap.root("old", of: PersistentDictionary<String, Int>.self)
        let new = try temporary.heap.root("new", of: PersistentDictionary<String, Int>.self)
        try old.merge([("a", 1), ("b", 2), ("c", 3)]) { $1 }
        try new.merge([("b", 2), ("c", 4), ("d", 5)]) { $1 }
        let changes = try new.changes(from: old)
        #expect(changes.added.map(\.key) == ["d"] && changes.removed.map(\.key) == ["a"])
        #expect(changes.changed.map(\.key) == ["c"] && changes.changed[0].old == 3 && changes.changed[0].new == 4)
        #expect(try new.changes(from: new).isEmpty && new == new && new != old)
    }

    @Test func aDefaultIsModifiedInPlaceWhateverMovesMeanwhile() throws {
        let temporary = try TemporaryHeap()
        let dictionary = try temporary.heap.root("numbers", of: PersistentDictionary<Int, Int>.self)
        func fill(_ value: inout Int) {
            for number in 0..<5000 { dictionary[number] = number }
            value += 1_000_000
        }
        fill(&dictionary[7, default: 3])
        #expect(dictionary[7] == 1_000_003)
        fill(&dictionary[9999, default: 1])
        #expect(dictionary[9999] == 1_000_001 && dictionary.check().isEmpty)
        func remove(_ value: inout Int) { dictionary[9999] = nil }
        remove(&dictionary[9999, default: 0])
        #expect(dictionary[9999] == 1_000_001)
    }

    @Test func fullHeapThrowsAndTheDictionaryStays() throws {
        let temporary = try TemporaryHeap(capacity: 2 << 20)
        let dictionary = try temporary.heap.root("texts", of: PersistentDictionary<String, String>.self)
        try temporary.heap.commit()
        var count = 0
        let text = String(repeating: "x", count: 50)
        let error = #expect(throws: HeapError.self) {
            while true {
                try dictionary.setValue(text, forKey: "\(text)\(count)")
                count += 1
            }
        }
        #expect(error?.code == .full && dictionary.count == count && dictionary.check().isEmpty && leaks(temporary.heap).isEmpty)
        #expect(throws: HeapError.self) { try dictionary.reserveCapacity(1 << 20) }
        #expect(dictionary.check().isEmpty && leaks(temporary.heap).isEmpty)
        // A setter can't throw: the commit does, until the change is taken back.
        while temporary.heap.failure == nil {
            dictionary["\(text)\(count)"] = text + text + text
            count += 1
        }
        #expect(throws: HeapError.self) { try temporary.heap.commit() }
        try temporary.heap.abandon()
        #expect(dictionary.isEmpty && temporary.heap.failure == nil)
        dictionary["a"] = "b"
        try temporary.heap.commit()
    }
}
