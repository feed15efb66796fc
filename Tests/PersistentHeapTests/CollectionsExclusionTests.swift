import Foundation
import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// Changes that begin while another thread holds a transaction: they wait for its end, and find what is there then.
@Suite struct CollectionsExclusionTests {
    private struct Refused: Error {}

    fileprivate struct Roots: @unchecked Sendable {
        let numbers: PersistentDictionary<Int, Int>
        let texts: PersistentDictionary<String, String>
        let lists: PersistentDictionary<Int, PersistentArray<Int>>
        let set: PersistentSet<Int>
        let sorted: PersistentSortedMap<Int, Int>
        let sortedTexts: PersistentSortedMap<String, String>
        let sortedLists: PersistentSortedMap<Int, PersistentArray<Int>>
        let array: PersistentArray<Int>
        let strings: PersistentArray<String>

        init(_ heap: PersistentHeap) throws {
            numbers = try heap.root("numbers")
            texts = try heap.root("texts")
            lists = try heap.root("lists")
            set = try heap.root("set")
            sorted = try heap.root("sorted")
            sortedTexts = try heap.root("sortedTexts")
            sortedLists = try heap.root("sortedLists")
            array = try heap.root("array")
            strings = try heap.root("strings")
        }

        /// 0 ..< 40 everywhere.
        func fill() throws {
            for number in 0..<40 { try put(number) }
        }

        private func put(_ number: Int) throws {
            try numbers.setValue(number, forKey: number)
            try texts.setValue(text(number), forKey: text(number))
            try lists.collection(forKey: number).append(number)
            try set.insert(number)
            try sorted.setValue(number, forKey: number)
            try sortedTexts.setValue(text(number), forKey: text(number))
            try sortedLists.collection(forKey: number).append(number)
            try array.append(number)
            try strings.append(text(number))
        }

        /// Leaves nothing where it was.
        func upset() throws {
            try numbers.removeAll()
            try texts.removeAll()
            try lists.removeAll()
            try set.removeAll()
            try sorted.removeAll()
            try sortedTexts.removeAll()
            try sortedLists.removeAll()
            try array.removeAll()
            try strings.removeAll()
            for number in (1000..<1400).reversed() { try put(number) }
        }

        /// What lies in all of them, in a form that can be compared.
        var contents: Contents {
            Contents(
                numbers: Dictionary(numbers.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first }),
                texts: Dictionary(texts.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first }),
                lists: Dictionary(lists.map { ($0.key, Array($0.value)) }, uniquingKeysWith: { first, _ in first }), set: Set(set),
                sorted: Dictionary(sorted.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first }),
                sortedTexts: Dictionary(sortedTexts.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first }),
                sortedLists: Dictionary(sortedLists.map { ($0.key, Array($0.value)) }, uniquingKeysWith: { first, _ in first }),
                array: Array(array), strings: Array(strings))
        }

        func check() -> [String] {
            numbers.check() + texts.check() + lists.check() + set.check() + sorted.check() + sortedTexts.check()
                + sortedLists.check() + array.check() + strings.check()
        }
    }

    fileprivate struct Contents: Equatable {
        var numbers: [Int: Int] = [:]
        var texts: [String: String] = [:]
        var lists: [Int: [Int]] = [:]
        var set: Set<Int> = []
        var sorted: [Int: Int] = [:]
        var sortedTexts: [String: String] = [:]
        var sortedLists: [Int: [Int]] = [:]
        var array: [Int] = []
        var strings: [String] = []

        static let filled: Contents = {
            var contents = Contents()
            for number in 0..<40 {
                contents.numbers[number] = number
                contents.texts[text(number)] = text(number)
                contents.lists[number] = [number]
                contents.set.insert(number)
                contents.sorted[number] = number
                contents.sortedTexts[text(number)] = text(number)
                contents.sortedLists[number] = [number]
                contents.array.append(number)
                contents.strings.append(text(number))
            }
            return contents
        }()
    }

    fileprivate static func text(_ number: Int) -> String { "the number \(number), in some words" }

    /// A change, of the collections and of what they should hold.
    struct Change: Sendable, CustomTestStringConvertible {
        let testDescription: String
        fileprivate let perform: @Sendable (Roots) throws -> Void
        fileprivate let model: @Sendable (inout Contents) -> Void

        fileprivate init(
            _ name: String, _ perform: @escaping @Sendable (Roots) throws -> Void,
            _ model: @escaping @Sendable (inout Contents) -> Void
        ) {
            testDescription = name
            self.perform = perform
            self.model = model
        }
    }

    private static let long = "another text, that is no shorter"

    static let changes: [Change] = dictionaries + sortedMaps + arrays

    private static let dictionaries = [
        Change("dictionary: a value", { try $0.numbers.setValue(-1, forKey: 7) }, { $0.numbers[7] = -1 }),
        Change("dictionary: a setter", { $0.numbers[7] = -1 }, { $0.numbers[7] = -1 }),
        Change("dictionary: a new key", { try $0.numbers.setValue(-1, forKey: 77) }, { $0.numbers[77] = -1 }),
        Change("dictionary: a key taken out", { try $0.numbers.remove(7) }, { $0.numbers[7] = nil }),
        Change("dictionary: an exchange", { _ = try $0.numbers.updateValue(-1, forKey: 7) }, { $0.numbers[7] = -1 }),
        Change("dictionary: a removal", { _ = try $0.numbers.removeValue(forKey: 7) }, { $0.numbers[7] = nil }),
        Change("dictionary: in place", { $0.numbers[7, default: 0] += 10 }, { $0.numbers[7] = 17 }),
        Change("dictionary: in place, new", { $0.numbers[77, default: 5] += 10 }, { $0.numbers[77] = 15 }),
        Change("dictionary: a merge", { try $0.numbers.merge([(7, 1), (77, 2)]) { $0 + $1 } }, {
            $0.numbers[7] = 8
            $0.numbers[77] = 2
        }),
        Change("dictionary: all of some kind", { try $0.numbers.removeAll { $0.key % 2 == 0 } }, {
            $0.numbers = $0.numbers.filter { $0.key % 2 != 0 }
        }),
        Change("dictionary: all", { try $0.numbers.removeAll(keepingCapacity: true) }, { $0.numbers = [:] }),
        Change("dictionary: room", { try $0.numbers.reserveCapacity(200) }, { _ in }),
        Change("dictionary: less room", { try $0.numbers.shrink() }, { _ in }),
        Change("dictionary: a text", { try $0.texts.setValue(long, forKey: text(7)) }, { $0.texts[text(7)] = long }),
        Change("dictionary: a text in place", { $0.texts[text(7), default: ""] += "!" }, { $0.texts[text(7)]? += "!" }),
        Change("dictionary: a text taken out", { try $0.texts.remove(text(7)) }, { $0.texts[text(7)] = nil }),
        Change("dictionary: a collection", { _ = try $0.lists.collection(forKey: 77) }, { $0.lists[77] = [] }),
        Change("dictionary: a collection replaced", { try $0.lists.setValue(PersistentArray(in: $0.lists.space), forKey: 7) }, { $0.lists[7] = [] }),
        Change("set: a member", { try $0.set.insert(77) }, { $0.set.insert(77) }),
        Change("set: one that is there", { try $0.set.insert(7) }, { _ in }),
        Change("set: a removal", { try $0.set.remove(7) }, { $0.set.remove(7) }),
    ]

    private static let sortedMaps = [
        Change("sorted map: a value", { try $0.sorted.setValue(-1, forKey: 7) }, { $0.sorted[7] = -1 }),
        Change("sorted map: a setter", { $0.sorted[7] = -1 }, { $0.sorted[7] = -1 }),
        Change("sorted map: a new key", { try $0.sorted.setValue(-1, forKey: 77) }, { $0.sorted[77] = -1 }),
        Change("sorted map: a key taken out", { try $0.sorted.remove(7) }, { $0.sorted[7] = nil }),
        Change("sorted map: an exchange", { _ = try $0.sorted.updateValue(-1, forKey: 7) }, { $0.sorted[7] = -1 }),
        Change("sorted map: a removal", { _ = try $0.sorted.removeValue(forKey: 7) }, { $0.sorted[7] = nil }),
        Change("sorted map: in place", { $0.sorted[7, default: 0] += 10 }, { $0.sorted[7] = 17 }),
        Change("sorted map: the first", { _ = try $0.sorted.popFirst() }, { $0.sorted[0] = nil }),
        Change("sorted map: the last", { _ = try $0.sorted.popLast() }, { $0.sorted[39] = nil }),
        Change("sorted map: all", { try $0.sorted.removeAll() }, { $0.sorted = [:] }),
        Change("sorted map: a text", { try $0.sortedTexts.setValue(long, forKey: text(7)) }, { $0.sortedTexts[text(7)] = long }),
        Change("sorted map: a text taken out", { try $0.sortedTexts.remove(text(7)) }, { $0.sortedTexts[text(7)] = nil }),
        Change("sorted map: a collection", { _ = try $0.sortedLists.collection(forKey: 77) }, { $0.sortedLists[77] = [] }),
    ]

    private static let arrays = [
        Change("array: an element", { try $0.array.replace(at: 7, with: -1) }, { $0.array[7] = -1 }),
        Change("array: a setter", { $0.array[7] = -1 }, { $0.array[7] = -1 }),
        Change("array: in place", { $0.array[7] += 10 }, { $0.array[7] = 17 }),
        Change("array: append", { try $0.array.append(-1) }, { $0.array.append(-1) }),
        Change("array: append several", { try $0.array.append(contentsOf: 100..<150) }, { $0.array += 100..<150 }),
        Change("array: insert", { try $0.array.insert(-1, at: 7) }, { $0.array.insert(-1, at: 7) }),
        Change("array: the last", { _ = try $0.array.popLast() }, { $0.array.removeLast() }),
        Change("array: one", { _ = try $0.array.remove(at: 7) }, { $0.array.remove(at: 7) }),
        Change("array: swap", { $0.array.swapAt(3, 7) }, { $0.array.swapAt(3, 7) }),
        Change("array: a span", { $0.array.withMutableElements(in: 2..<5) { $0[1] = -1 } }, { $0.array[3] = -1 }),
        Change("array: room", { try $0.array.reserveCapacity(200) }, { _ in }),
        Change("array: some replaced", { try $0.array.replaceSubrange(2..<5, with: [7, 8]) }, { $0.array.replaceSubrange(2..<5, with: [7, 8]) }),
        Change("array: all of some kind", { try $0.array.removeAll { $0 % 2 == 0 } }, { $0.array.removeAll { $0 % 2 == 0 } }),
        Change("array: a text", { $0.strings[7] = long }, { $0.strings[7] = long }),
        Change("array: a text in place", { $0.strings[7] += "!" }, { $0.strings[7] += "!" }),
        Change("array: swapped texts", { $0.strings.swapAt(3, 7) }, { $0.strings.swapAt(3, 7) }),
    ]

    @Test(arguments: changes) func aChangeThatWaitedForATransactionFindsWhatIsThere(_ change: Change) throws {
        let temporary = try TemporaryHeap()
        let heap = temporary.heap
        let roots = try Roots(heap)
        try roots.fill()
        try heap.commit()
        let isOpen = DispatchSemaphore(value: 0)
        let isDone = DispatchSemaphore(value: 0)
        let failure = Failure()
        Thread.detachNewThread {
            isOpen.wait()
            do { try change.perform(roots) } catch { failure.error = error }
            isDone.signal()
        }
        #expect(throws: Refused.self) {
            try heap.transaction(declaredOnly: true) {
                try roots.upset()
                isOpen.signal()
                // Time for the other thread to come as far as it may.
                usleep(3000)
                throw Refused()
            }
        }
        isDone.wait()
        if let error = failure.error { throw error }
        var expected = Contents.filled
        change.model(&expected)
        #expect(roots.contents == expected && roots.check() == [] && heap.failure == nil)
        #expect(try heap.check().problems == [])
        #expect(leaks(heap).isEmpty)
    }

    private final class Failure: @unchecked Sendable { var error: (any Error)? }

    /// One thread changes a dictionary, as fast as it can; the other's transactions fail.
    @Test func changesBesideTransactionsThatFail() throws {
        let temporary = try TemporaryHeap()
        let heap = temporary.heap
        let texts: PersistentDictionary<Int, String> = try heap.root("texts")
        let others: PersistentDictionary<Int, PersistentArray<Int>> = try heap.root("others")
        try heap.commit()
        let rounds = CollectionsBudget.runs * 400
        let isDone = DispatchSemaphore(value: 0)
        let model = Model()
        Thread.detachNewThread {
            var generator = SeededGenerator(seed: 17)
            for round in 0..<rounds {
                let key = Int.random(in: 0..<500, using: &generator)
                if round % 5 == 4 {
                    model.texts[key] = nil
                    texts[key] = nil
                } else {
                    let text = String(repeating: "\(round)", count: 1 + round % 12)
                    model.texts[key] = text
                    texts[key] = text
                }
                if round % 64 == 0 { usleep(200) }
            }
            model.isDone = true
            isDone.signal()
        }
        var undone = 0
        while !model.isDone {
            try heap.commit(declaredOnly: true)
            do {
                try heap.transaction(declaredOnly: true) {
                    for key in 0..<600 { try texts.setValue("undone", forKey: key * 3) }
                    for key in 0..<30 { try others.collection(forKey: key).append(key) }
                    throw Refused()
                }
            } catch let error as HeapError where error.code == .uncommittedChanges {
                continue
            } catch is Refused {
                undone += 1
            }
        }
        isDone.wait()
        #expect(undone > 0)
        #expect(Dictionary(texts.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first }) == model.texts)
        #expect(others.isEmpty && texts.check() == [] && heap.failure == nil)
        #expect(try heap.check().problems == [])
        #expect(leaks(heap).isEmpty)
    }

    private final class Model: @unchecked Sendable {
        var texts: [Int: String] = [:]
        private let lock = NSLock()
        private var done = false
        var isDone: Bool {
            get { lock.withLock { done } }
            set { lock.withLock { done = newValue } }
        }
    }

    /// Threads that end give their caches back, also while another looks through the heap.
    @Test func aHeapIsCheckedWhileThreadsEnd() throws {
        let temporary = try TemporaryHeap()
        let heap = temporary.heap
        let count = CollectionsBudget.runs * 60
        let isDone = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            for round in 0..<count {
                let hasEnded = DispatchSemaphore(value: 0)
                for thread in 0..<3 {
                    Thread.detachNewThread {
                        for size in 1...20 { if let block = try? heap.allocate(byteCount: size * (16 + thread + round % 7)) { try? heap.deallocate(block) } }
                        hasEnded.signal()
                    }
                }
                for _ in 0..<3 { hasEnded.wait() }
            }
            isDone.signal()
        }
        var problems: [String] = []
        repeat { problems += try heap.check().problems } while isDone.wait(timeout: .now()) == .timedOut
        #expect(problems == [])
    }
}
