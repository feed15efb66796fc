import TestSupport
import Testing
import Varve

@testable import PersistentHeap

enum ArrayChange<Element: Sendable>: Sendable {
    case append(Element), appendMany([Element]), insert(Element, Int), replace(Int, Element), remove(Int), removeLast, swap(Int, Int)
    case removeRange(Int, Int), replaceRange(Int, Int, [Element]), reserve(Int), removeAll(Bool), removeSome(Int), sort
}

/// An array of texts or numbers beside `Array`.
struct ArrayModel<Element: PersistentLeaf & Comparable & Sendable & RandomElement>: CollectionModel {
    let array: PersistentArray<Element>

    static var empty: [Element] { [] }

    init(_ heap: PersistentHeap) throws { array = try heap.root("array", of: PersistentArray<Element>.self) }

    static func random(using g: inout SeededGenerator) -> ArrayChange<Element> {
        func element() -> Element { Element.random(using: &g) }
        func number() -> Int { Int.random(in: 0..<1 << 20, using: &g) }
        func elements() -> [Element] { (0..<Int.random(in: 0..<12, using: &g)).map { _ in element() } }
        switch Int.random(in: 0..<24, using: &g) {
        case 0..<6: return .append(element())
        case 6, 7: return .appendMany(elements())
        case 8, 9: return .insert(element(), number())
        case 10...12: return .replace(number(), element())
        case 13, 14: return .remove(number())
        case 15: return .removeLast
        case 16: return .swap(number(), number())
        case 17: return .removeRange(number(), number())
        case 18, 19: return .replaceRange(number(), number(), elements())
        case 20: return .reserve(Int.random(in: 0..<300, using: &g))
        case 21: return number() % 4 == 0 ? .removeAll(Bool.random(using: &g)) : .append(element())
        case 22: return number() % 2 == 0 ? .removeSome(Int.random(in: 2..<6, using: &g)) : .append(element())
        default: return number() % 4 == 0 ? .sort : .append(element())
        }
    }

    func perform(_ change: ArrayChange<Element>, _ expected: inout [Element]) throws -> String? {
        let count = expected.count
        switch change {
        case .append(let element):
            try array.append(element)
            expected.append(element)
        case .appendMany(let elements):
            try array.append(contentsOf: elements)
            expected += elements
        case .insert(let element, let place):
            try array.insert(element, at: place % (count + 1))
            expected.insert(element, at: place % (count + 1))
        case .replace(let place, let element) where count > 0:
            array[place % count] = element
            expected[place % count] = element
            if array[place % count] != element { return "it reads \(array[place % count])" }
        case .remove(let place) where count > 0:
            let removed = try array.remove(at: place % count)
            if removed != expected.remove(at: place % count) { return "it removed \(removed)" }
        case .removeLast:
            if try array.popLast() != expected.popLast() { return "another last element" }
        case .swap(let i, let j) where count > 0:
            array.swapAt(i % count, j % count)
            expected.swapAt(i % count, j % count)
        case .removeRange(let i, let j):
            let range = min(i % (count + 1), j % (count + 1))..<max(i % (count + 1), j % (count + 1))
            try array.removeSubrange(range)
            expected.removeSubrange(range)
        case .replaceRange(let i, let j, let elements):
            let range = min(i % (count + 1), j % (count + 1))..<max(i % (count + 1), j % (count + 1))
            try array.replaceSubrange(range, with: elements)
            expected.replaceSubrange(range, with: elements)
        case .reserve(let minimum):
            try array.reserveCapacity(minimum)
            if array.capacity < minimum { return "its capacity is \(array.capacity)" }
        case .removeAll(let keeping):
            try array.removeAll(keepingCapacity: keeping)
            expected.removeAll()
        case .removeSome(let divisor):
            var number = 0
            try array.removeAll { _ in
                number += 1
                return number % divisor == 0
            }
            expected = expected.enumerated().filter { ($0.offset + 1) % divisor != 0 }.map(\.element)
        case .sort:
            var sorted = array
            sorted.sort()
            expected.sort()
        default: return nil
        }
        return array.count == expected.count ? nil : "\(array.count) elements for \(expected.count)"
    }

    func compare(_ expected: [Element]) -> String? {
        Array(array) == expected && Array(array.reversed()) == expected.reversed() && array.elementsEqual(expected)
            ? nil : "\(array) for \(expected)"
    }

    func check() -> [String] { array.check() }
}

/// A value for tests.
protocol RandomElement: Sendable { static func random(using generator: inout SeededGenerator) -> Self }

extension Int: RandomElement {
    static func random(using g: inout SeededGenerator) -> Int { Int.random(in: -50...5000, using: &g) }
}
extension UInt16: RandomElement {
    static func random(using g: inout SeededGenerator) -> UInt16 { UInt16.random(in: 0...700, using: &g) }
}
extension String: RandomElement {
    static func random(using g: inout SeededGenerator) -> String { randomText(using: &g) }
}

@Suite struct CollectionsArrayTests {
    @Test(arguments: 0..<CollectionsBudget.runs) func numbersAsArray(_ seed: Int) throws {
        try CollectionRun<ArrayModel<Int>>.run(seed: UInt64(seed))
    }

    @Test(arguments: 0..<CollectionsBudget.runs) func textsAsArray(_ seed: Int) throws {
        try CollectionRun<ArrayModel<String>>.run(seed: UInt64(seed))
    }

    @Test func readsAsACollection() throws {
        let temporary = try TemporaryHeap()
        let array = try temporary.heap.root("array", of: PersistentArray<Int>.self)
        try array.append(contentsOf: [3, 1, 2])
        #expect(array.description == "[3, 1, 2]")
        #expect(array.sorted() == [1, 2, 3] && array.first == 3 && array.last == 2 && array[1...].elementsEqual([1, 2]))
        #expect(array.firstIndex(of: 2) == 2 && array.contains(1) && array.map { $0 * 2 } == [6, 2, 4])
        array[0] += 10
        #expect(array[0] == 13 && Array(array.difference(from: [13, 2])).count == 1)
        try array.withMutableElements(in: 1..<3) { (span: inout MutableSpan<Int>) throws(HeapError) in
            for index in span.indices { span[index] *= 100 }
        }
        #expect(Array(array) == [13, 100, 200])
        let copy = array
        try copy.append(5)
        #expect(array.count == 4)
        try temporary.heap.commit(declaredOnly: true)
    }

    @Test func changesBetweenTwoArraysAreByPlace() throws {
        let temporary = try TemporaryHeap()
        let old = try temporary.heap.root("old", of: PersistentArray<String>.self)
        let new = try temporary.heap.root("new", of: PersistentArray<String>.self)
        try old.append(contentsOf: ["a", "b", "c"])
        try new.append(contentsOf: ["a", "x", "c", "d"])
        let changes = new.changes(from: old)
        #expect(changes.changed.map(\.index) == [1] && changes.changed[0].old == "b" && changes.changed[0].new == "x")
        #expect(changes.added == ["d"] && changes.removed.isEmpty && !changes.isEmpty)
        #expect(old.changes(from: new).removed == ["d"])
        #expect(new.changes(from: new).isEmpty)
    }

    @Test func arrayThatDoesNotFitThrowsAndStays() throws {
        let temporary = try TemporaryHeap(capacity: 4 << 20)
        let array = try temporary.heap.root("array", of: PersistentArray<Int>.self)
        try array.append(contentsOf: 0..<1000)
        for wanted in [1 << 20, 1 << 40, Int.max / 8, Int.max] {
            let error = #expect(throws: HeapError.self) { try array.reserveCapacity(wanted) }
            #expect(error?.code == .full)
        }
        let error = #expect(throws: HeapError.self) { while true { try array.append(1) } }
        #expect(error?.code == .full)
        #expect(array.prefix(1000).elementsEqual(0..<1000) && array.check().isEmpty)
    }

    @Test func anArrayIsAppendedToItself() throws {
        let temporary = try TemporaryHeap()
        let numbers: PersistentArray<Int> = try temporary.heap.root("numbers")
        try numbers.append(contentsOf: [1, 2, 3])
        try numbers.append(contentsOf: numbers)
        #expect(Array(numbers) == [1, 2, 3, 1, 2, 3])
        let texts: PersistentArray<String> = try temporary.heap.root("texts")
        try texts.append(contentsOf: ["a text that is long enough", "b"])
        try texts.append(contentsOf: texts)
        #expect(Array(texts) == ["a text that is long enough", "b", "a text that is long enough", "b"])
        #expect(leaks(temporary.heap).isEmpty)
    }

    @Test(arguments: [Int.max, Int.max / 2, 1 << 40]) func roomThatNoHeapHasIsRefused(_ count: Int) throws {
        let temporary = try TemporaryHeap()
        let array: PersistentArray<Int> = try temporary.heap.root("array")
        let dictionary: PersistentDictionary<Int, Int> = try temporary.heap.root("dictionary")
        let set: PersistentSet<UInt8> = try temporary.heap.root("set")
        dictionary[1] = 1
        try set.insert(1)
        let reserves: [() throws -> Void] = [
            { try array.reserveCapacity(count) }, { try dictionary.reserveCapacity(count) }, { try set.reserveCapacity(count) },
        ]
        for reserve in reserves {
            #expect(heapError { try reserve() }?.code == .full)
        }
        #expect(dictionary[1] == 1 && set.contains(1) && dictionary.check() == [] && set.check() == [])
        #expect(leaks(temporary.heap).isEmpty)
    }
}
