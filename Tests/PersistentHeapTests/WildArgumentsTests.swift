import Testing
import Varve

@testable import PersistentHeap

/// Arguments that a program may pass by mistake, and texts of types that C gives: errors, never traps.
@Suite struct WildArgumentsTests {
    @Test(arguments: [3, 0, -8, 5, 12, 24, 1 << 21, Int.min, Int.max]) func anAlignmentThatThereIsNot(alignment: Int) throws {
        let temporary = try TemporaryHeap()
        let heap = temporary.heap
        // Blocks of the class are at hand.
        for pointer in try (0..<8).map({ _ in try heap.allocate(byteCount: 8) }) { try heap.deallocate(pointer) }
        let block = try heap.allocate(byteCount: 8)
        let large = try heap.allocate(byteCount: 100_000)
        for body: () throws -> Void in [
            { _ = try heap.allocate(byteCount: 8, alignment: alignment) },
            { _ = try heap.reallocate(block, byteCount: 8, alignment: alignment) },
            { _ = try heap.reallocate(large, byteCount: 200_000, alignment: alignment) },
        ] {
            do {
                try body()
                Issue.record("alignment \(alignment) was taken")
            } catch let error as HeapError { #expect(error.code == .invalid, "\(error)") }
        }
        #expect(try heap.check().problems == [])
    }

    @Test(arguments: [1, 2, 4, 8, 16, 64, 4096, 1 << 20]) func reallocatingKeepsWhatIsAskedFor(alignment: Int) throws {
        let temporary = try TemporaryHeap()
        let heap = temporary.heap
        for size in [16, 1000, 40_000] {
            var block = try heap.allocate(byteCount: size)
            block.storeBytes(of: 0x55aa_1234, as: Int.self)
            for size in [size, size + 1, size * 3, 70_000, 16] {
                block = try heap.reallocate(block, byteCount: size, alignment: alignment)
                #expect(heap.offset(of: block) % alignment == 0)
                #expect(block.load(as: Int.self) == 0x55aa_1234)
            }
            try heap.deallocate(block)
        }
        #expect(try heap.check().problems == [])
    }

    @Test(arguments: [Int.max, Int.max - 16_384, 1 << 50]) func aBlockLargerThanTheHeap(byteCount: Int) throws {
        let temporary = try TemporaryHeap()
        let heap = temporary.heap
        for block in [try heap.allocate(byteCount: 8), try heap.allocate(byteCount: 100_000)] {
            do throws(HeapError) {
                _ = try heap.reallocate(block, byteCount: byteCount)
                Issue.record("there is room for it")
            } catch { #expect(error.code == .full, "\(error)") }
            block.storeBytes(of: 7, as: Int.self)
        }
        #expect(try heap.check().problems == [])
    }

    /// Swift orders strings by what they look like, the map by their UTF-8: "é" in two characters comes before "f" there, and behind "g"
    /// for Swift.
    @Test func aRangeThatIsNoneInTheMapsOrder() throws {
        let temporary = try TemporaryHeap()
        let map: PersistentSortedMap<String, Int> = try temporary.heap.root("map")
        for (number, key) in ["e\u{301}", "g", "a"].enumerated() { try map.setValue(number, forKey: key) }
        #expect("f" < "e\u{301}")
        #expect(Array(map.entries(in: "f"..<"e\u{301}")).isEmpty)
        #expect(Array(map.entries(in: "f"..."e\u{301}")).isEmpty)
        #expect(map.entries(in: "a"..<"g").map(\.key) == ["a", "e\u{301}"])
        #expect(map.entries(in: "a"..."g").map(\.key) == ["a", "e\u{301}", "g"])
    }

    @Test func aLayoutThatNoProgramHas() {
        #expect(!StoredShape(layout: "P{a@9223372036854775807: String}").ownsMemory)
        #expect(!StoredShape(layout: "P{a@99999999999999999999: String}").ownsMemory)
        #expect(StoredShape(layout: "P{a@16: String}").ownsMemory)
        for text in ["A<", "A{a@0: ", "PersistentArray<"] { _ = StoredShape(layout: String(repeating: text, count: 200_000)) }
    }
}
