import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// Collections of another heap, or of a past state, where one of this heap belongs.
@Suite struct CollectionsForeignTests {
    private typealias Texts = PersistentArray<String>

    private struct Heaps {
        let temporary: TemporaryHeap
        let other: TemporaryHeap
        var heap: PersistentHeap { temporary.heap }

        init() throws {
            temporary = try TemporaryHeap()
            other = try TemporaryHeap()
        }
    }

    private func isRefused(_ body: () throws -> Void) {
        let error = #expect(throws: HeapError.self) { try body() }
        #expect(error?.code == .invalid && error?.advice.isEmpty == false)
    }

    /// Every place of a collection that can take one: none takes a foreign one, and nothing of it has changed.
    private func isRefusedEverywhere(_ foreign: Texts, in heap: PersistentHeap) throws {
        let array: PersistentArray<Texts> = try heap.root("array")
        let dictionary: PersistentDictionary<String, Texts> = try heap.root("dictionary")
        let sorted: PersistentSortedMap<String, Texts> = try heap.root("sorted")
        let key = "a key of more than fifteen bytes"
        try array.appendNew().append("a")
        try dictionary.collection(forKey: key).append("a")
        try sorted.collection(forKey: key).append("a")
        try heap.commit()
        isRefused { try array.append(foreign) }
        isRefused { try array.insert(foreign, at: 0) }
        isRefused { try array.replace(at: 0, with: foreign) }
        isRefused { try dictionary.setValue(foreign, forKey: key) }
        isRefused { try dictionary.setValue(foreign, forKey: key + "!") }
        isRefused { try sorted.setValue(foreign, forKey: key) }
        isRefused { try sorted.setValue(foreign, forKey: key + "!") }
        dictionary[key] = foreign
        #expect(heap.failure?.code == .invalid)
        #expect(array.map(Array.init) == [["a"]] && dictionary.count == 1 && sorted.count == 1)
        #expect(dictionary[key].map(Array.init) == ["a"] && sorted[key].map(Array.init) == ["a"])
        #expect(leaks(heap).isEmpty)
        try heap.abandon()
    }

    @Test func collectionsOfAnotherHeapAreRefused() throws {
        let heaps = try Heaps()
        let foreign: Texts = try heaps.other.heap.root("texts")
        try foreign.append("foreign")
        try isRefusedEverywhere(foreign, in: heaps.heap)
        let free = try Texts(in: heaps.other.heap.space)
        let third = try TemporaryHeap()
        try isRefusedEverywhere(free, in: third.heap)
        // It is nobody's still.
        let own: PersistentArray<Texts> = try heaps.other.heap.root("array")
        try own.append(free)
        #expect(leaks(heaps.other.heap).isEmpty)
    }

    /// Also at the very place that it has in its own heap.
    @Test func whereItLiesSaysNothing() throws {
        let heaps = try Heaps()
        let mine: PersistentArray<Texts> = try heaps.heap.root("array")
        let theirs: PersistentArray<Texts> = try heaps.other.heap.root("array")
        try mine.appendNew()
        try theirs.appendNew().append("theirs")
        try #require(mine[0].handle == theirs[0].handle)
        isRefused { try mine.replace(at: 0, with: theirs[0]) }
        let before = mine[0]
        try mine.replace(at: 0, with: before)
        #expect(mine[0].isEmpty && mine[0].handle == before.handle)
    }

    @Test func collectionsOfAPastStateAreRefused() throws {
        let heaps = try Heaps()
        let texts: PersistentDictionary<Int, Texts> = try heaps.heap.root("texts")
        try texts.collection(forKey: 1).append("old")
        let version = try heaps.heap.commit()
        try texts.collection(forKey: 1).append("new")
        try heaps.heap.commit()
        let past = try heaps.heap.at(.version(version))
        let old: PersistentDictionary<Int, Texts> = try past.root("texts")
        isRefused { try texts.setValue(#require(old[1]), forKey: 1) }
        isRefused { try texts.setValue(#require(old[1]), forKey: 2) }
        try isRefusedEverywhere(#require(old[1]), in: heaps.heap)
        #expect(texts[1].map(Array.init) == ["old", "new"] && texts.count == 1)
        // The elements are another matter.
        try texts.collection(forKey: 2).append(contentsOf: #require(old[1]))
        #expect(texts[2].map(Array.init) == ["old"])
        try past.close()
    }

    @Test func anUpgradeDoesNotTakeThemEither() throws {
        let heaps = try Heaps()
        let _: Texts = try heaps.heap.root("texts")
        try heaps.heap.commit()
        let foreign: Texts = try Texts(in: heaps.other.heap.space)
        isRefused { _ = try heaps.heap.root("texts", of: Texts.self, version: 2) { _ in foreign } }
        #expect(try heaps.heap.root("texts", of: Texts.self).isEmpty)
    }
}
