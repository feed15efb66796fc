import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// The bytes of collections, at the places that docs/FORMAT.md gives them.
@Suite struct CollectionsFormatTests {
    private func kind(_ space: HeapSpace, _ offset: Int) -> String { String(decoding: space.bytes(offset, 4), as: UTF8.self) }

    @Test func stringsAreSixteenBytes() throws {
        let temporary = try TemporaryHeap()
        let space = temporary.heap.space
        for length in 0..<40 {
            let text = String((0..<length).map { Character(UnicodeScalar(UInt8(97 + $0 % 26))) })
            let stored = try PersistentString(text, in: space)
            let bytes = withUnsafeBytes(of: stored) { Array($0) }
            #expect(bytes.count == 16)
            if length <= 15 {
                #expect(bytes == Array(text.utf8) + [UInt8](repeating: 0, count: 15 - length) + [UInt8(length)])
            } else {
                let offset = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
                #expect(bytes[15] == 255 && bytes[8] == UInt8(length) && bytes[9..<15].allSatisfy { $0 == 0 })
                #expect(space.bytes(offset, length).elementsEqual(text.utf8))
            }
            #expect(stored.string(in: space) == text)
            try stored.release(in: space)
        }
        #expect(withUnsafeBytes(of: PersistentString()) { $0.allSatisfy { $0 == 0 } } && leaks(temporary.heap).isEmpty)
    }

    @Test func arrayHeader() throws {
        let temporary = try TemporaryHeap()
        let space = temporary.heap.space
        let array = try temporary.heap.root("array", of: PersistentArray<Int32>.self)
        try array.append(contentsOf: [5, 6, 7])
        let header = array.handle.offset
        #expect(kind(space, header) == "VArr" && space.load(header + 4, as: UInt32.self) == 1 && space.load(header + 8, as: Int.self) == 3)
        let elements: Int = space.load(header + 24)
        #expect(space.load(header + 16, as: Int.self) >= 3 && space.load(elements + 8, as: Int32.self) == 7)
        #expect(space.load(header + 32, as: UInt32.self) == 4 && space.load(header + 36, as: UInt32.self) == 4)
    }

    @Test func dictionaryHeaderAndChunk() throws {
        let temporary = try TemporaryHeap()
        let space = temporary.heap.space
        let dictionary = try temporary.heap.root("dictionary", of: PersistentDictionary<Int16, Int64>.self)
        dictionary[-2] = 77
        let header = dictionary.handle.offset
        #expect(kind(space, header) == "VDic" && space.load(header + 8, as: Int.self) == 1)
        #expect(space.load(header + 24, as: Int.self) == header + 48 && space.load(header + 40, as: UInt32.self) == 0)
        #expect(space.load(header + 32, as: UInt32.self) == 16 && space.load(header + 36, as: UInt32.self) == 8)
        #expect(space.load(header + 56, as: Int.self) == 1)
        let entry: UInt64 = space.load(header + 48)
        #expect(entry & 0xffff == 0)
        let chunk = Int(entry >> 16) * 16
        let hash = PersistentHasher.hash(UInt64(bitPattern: -2), seed: space.load(header + 16))
        #expect(space.load(chunk, as: UInt8.self) == UInt8(128 + hash % 128))
        #expect(space.load(chunk + 16, as: Int16.self) == -2 && space.load(chunk + 24, as: Int64.self) == 77)
        #expect((1..<16).allSatisfy { space.load(chunk + $0, as: UInt8.self) == 0 })
    }

    @Test func sortedMapHeaderAndNodes() throws {
        let temporary = try TemporaryHeap()
        let space = temporary.heap.space
        let map = try temporary.heap.root("map", of: PersistentSortedMap<Int, Int16>.self)
        for number in 0..<1000 { map[number] = Int16(number) }
        let header = map.handle.offset
        #expect(kind(space, header) == "VMap" && space.load(header + 8, as: Int.self) == 1000)
        #expect(space.load(header + 24, as: UInt32.self) == 2 && space.load(header + 28, as: UInt32.self) == 8)
        #expect(space.load(header + 32, as: UInt32.self) == 2 && space.load(header + 36, as: UInt32.self) == 2)
        let root: Int = space.load(header + 16)
        let room = Int(space.load(root + 4, as: UInt32.self))
        #expect(space.load(root + 8, as: Int.self) == 1)
        let first: Int = space.load(root + 32 + room * 8)
        let second: Int = space.load(root + 32 + room * 8 + 8)
        #expect(space.load(first + 8, as: Int.self) == 0 && space.load(first + 16, as: Int.self) == second)
        #expect(space.load(second + 24, as: Int.self) == first && space.load(first + 24, as: Int.self) == 0)
        #expect(space.load(second + 32, as: Int.self) == space.load(root + 32, as: Int.self))
        let leafRoom = Int(space.load(first + 4, as: UInt32.self))
        #expect(space.load(first + 32 + leafRoom * 8 + 2 * 9, as: Int16.self) == 9)
    }

    /// The test vectors that wyhash's final version 4 is published with.
    @Test func hashesAreWyhash() {
        let expected: [(String, UInt64)] = [
            ("", 0x9322_8a4d_e0ee_c5a2), ("a", 0xc5ba_c3db_1787_13c4), ("abc", 0xa97f_2f7b_1d9b_3314),
            ("message digest", 0x786d_1f1d_f380_1df4), ("abcdefghijklmnopqrstuvwxyz", 0xdca5_a813_8ad3_7c87),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 0xb9e7_34f1_17cf_af70),
            ("12345678901234567890123456789012345678901234567890123456789012345678901234567890", 0x6cc5_eab4_9a92_d617),
        ]
        for (seed, (text, hash)) in expected.enumerated() {
            #expect(text.persistentHash(seed: UInt64(seed)) == hash)
            #expect(Array(text.utf8).persistentHash(seed: UInt64(seed)) == hash)
        }
        #expect((0..<48).map { UInt8(truncatingIfNeeded: $0 * 7 + 1) }.persistentHash(seed: 0) == 0xaee0_15b8_9490_a9c7)
    }

    @Test func hashesOfNumbersStayTheSame() {
        #expect(Int8(-1).persistentHash(seed: 5) == Int(-1).persistentHash(seed: 5))
        #expect(UInt8(200).persistentHash(seed: 5) == 200.persistentHash(seed: 5))
        #expect((-0.0).persistentHash(seed: 1) == 0.0.persistentHash(seed: 1))
        var bits: UInt64 = 0
        for number in 0..<64 { bits |= 1 << (UInt64(number).persistentHash(seed: 9) >> 58) }
        #expect(bits.nonzeroBitCount > 30)
    }

    @Test func shapesAreReadFromLayouts() {
        #expect(StoredShape(layout: PersistentArray<String>.layout.text) == .array(.bytes(isText: true)))
        #expect(
            StoredShape(layout: PersistentDictionary<Int, PersistentSortedMap<String, PersistentSet<[UInt8]>>>.layout.text)
                == .dictionary(.plain(name: "Int"), .sortedMap(.bytes(isText: true), .set(.bytes(isText: false)))))
        struct Person: Persistable {
            var born: Int
            var name: PersistentString
            var pet: Ref<Int>?
            var kind: Kind
            var motto: PersistentString
        }
        enum Kind: UInt8, CaseIterable, Persistable { case one, other }
        #expect(
            StoredShape(layout: PersistentArray<Person>.layout.text)
                == .array(
                    .fields([
                        .init(offset: 8, shape: .bytes(isText: true)),
                        .init(offset: MemoryLayout<Person>.offset(of: \.motto)!, shape: .bytes(isText: true)),
                    ])))
    }
}

