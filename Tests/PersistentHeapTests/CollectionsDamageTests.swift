import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// Heaps whose bytes were changed at random: nothing may trap or lead out of the heap, and checks say that something is wrong.
@Suite struct CollectionsDamageTests {
    private struct Made {
        let temporary: TemporaryHeap
        let texts: PersistentDictionary<String, PersistentArray<String>>
        let numbers: PersistentDictionary<Int, Int>
        let sorted: PersistentSortedMap<String, PersistentSet<Int>>
        let blocks: [(offset: Int, count: Int)]
    }

    private func make() throws -> Made {
        let temporary = try TemporaryHeap()
        let heap = temporary.heap
        let texts = try heap.root("texts", of: PersistentDictionary<String, PersistentArray<String>>.self)
        let numbers = try heap.root("numbers", of: PersistentDictionary<Int, Int>.self)
        let sorted = try heap.root("sorted", of: PersistentSortedMap<String, PersistentSet<Int>>.self)
        for number in 0..<300 {
            let text = number % 2 == 0 ? "\(number)" : "\(number) is a text of some length"
            try texts.collection(forKey: text).append(contentsOf: [text, text + text])
            try sorted.collection(forKey: text).insert(number)
        }
        for number in 0..<6000 { numbers[number] = number }
        try heap.commit()
        var blocks: [(Int, Int)] = []
        let walk = ContainerWalk(space: heap.space, visit: { offset, count, _ in blocks.append((offset, count)) }, report: { _ in })
        walk.walk(StoredShape(layout: type(of: texts).layout.text), handle: texts.handle)
        walk.walk(StoredShape(layout: type(of: numbers).layout.text), handle: numbers.handle)
        walk.walk(StoredShape(layout: type(of: sorted).layout.text), handle: sorted.handle)
        return Made(temporary: temporary, texts: texts, numbers: numbers, sorted: sorted, blocks: blocks)
    }

    /// Reads all that there is, as far as it can be read.
    private func read(_ heap: PersistentHeap) throws -> Int {
        var sum = 0
        func root<Container: PersistentContainer>(_ name: String, _ type: Container.Type, _ body: (Container) -> Void) {
            do { try body(heap.root(name, of: type)) } catch { sum += 1 }
        }
        root("texts", PersistentDictionary<String, PersistentArray<String>>.self) { texts in
            sum &+= texts.check().count
            for (key, value) in texts { sum &+= key.utf8.count &+ value.reduce(0) { $0 &+ $1.utf8.count } }
            for number in 0..<300 { sum &+= texts["\(number)"]?.count ?? 0 }
        }
        root("numbers", PersistentDictionary<Int, Int>.self) { numbers in
            sum &+= numbers.check().count
            for number in 0..<6000 { sum &+= numbers[number] ?? 0 }
        }
        root("sorted", PersistentSortedMap<String, PersistentSet<Int>>.self) { sorted in
            sum &+= sorted.check().count
            for number in 0..<300 { sum &+= sorted["\(number)"]?.count ?? 0 }
            for (key, value) in sorted {
                sum &+= key.utf8.count &+ value.count
            }
        }
        return sum
    }

    @Test(arguments: 0..<CollectionsBudget.runs) func readingDamagedBytesEndsNoProgram(_ seed: Int) throws {
        let made = try make()
        let heap = made.temporary.heap
        var generator = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<(CollectionsBudget.runs < 10 ? 12 : 40) {
            let (offset, count) = made.blocks.randomElement(using: &generator)!
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                // Near the beginning, where offsets and counts are, more often than not.
                let place = offset + Int.random(in: 0..<(Bool.random(using: &generator) ? min(count, 48) : count), using: &generator)
                // Kinds of collections stay: the views of this test are theirs.
                if made.blocks.contains(where: { $0.offset <= place && place < $0.offset + 4 && $0.count <= 64 }) { continue }
                heap.space.store(UInt8.random(in: 0...255, using: &generator), at: place)
            }
            _ = try read(heap)
            try heap.abandon()
        }
        #expect(made.texts.check() + made.numbers.check() + made.sorted.check() == [] && heap.failure == nil && leaks(heap).isEmpty)
    }

    @Test func checksFindWhatContradictsItself() throws {
        let made = try make()
        let heap = made.temporary.heap
        func finds(_ what: String, _ check: () -> [String], _ damage: () -> Void) throws {
            #expect(check() == [])
            damage()
            #expect(!check().isEmpty, "\(what) is not found")
            try heap.abandon()
        }
        let space = heap.space
        let numbers = made.numbers
        try finds("a count", numbers.check) { space.store(5999, at: numbers.handle.offset + 8) }
        try finds("a key in the wrong place", numbers.check) {
            let slot = numbers.locate(17, hash: numbers.hash(of: 17)).slot
            space.store(1_000_017, at: slot)
        }
        try finds("an overflow", numbers.check) {
            let place = numbers.locate(17, hash: numbers.hash(of: 17))
            space.store(UInt8(77), at: place.chunk + HashTableFormat.overflow)
        }
        try finds("a seed", numbers.check) { space.store(0, at: numbers.handle.offset + HashTableFormat.seed) }
        let sorted = made.sorted
        try finds("an order", sorted.check) {
            let (first, second) = (sorted.startIndex, sorted.index(after: sorted.startIndex))
            let stored = sorted.storedKey(first)
            space.store(sorted.storedKey(second), at: sorted.keyOffset(first.leaf, first.slot))
            space.store(stored, at: sorted.keyOffset(second.leaf, second.slot))
        }
        try finds("a link", sorted.check) { space.store(0, at: sorted.startIndex.leaf + BTreeFormat.nextLeaf) }
        try finds("an array's count", made.texts.check) { space.store(1 << 40, at: made.texts["0"]!.handle.offset + 8) }
        try finds("two owners", made.texts.check) {
            let slot = { (key: String) in made.texts.locate(key, hash: made.texts.hash(of: key)).slot }
            space.store(space.load(slot("0") + 16, as: Int.self), at: slot("2") + 16)
        }
    }

    @Test func aRootThatIsDamagedThrows() throws {
        let made = try make()
        let heap = made.temporary.heap
        heap.space.store(UInt32(99), at: made.numbers.handle.offset + HashTableFormat.depth)
        let error = #expect(throws: HeapError.self) { try heap.root("numbers", of: PersistentDictionary<Int, Int>.self) }
        #expect(error?.code == .damaged)
        let array = made.texts["2"]!
        heap.space.store(-1, at: array.handle.offset + 8)
        #expect(made.texts["2"]?.count == 0 && heap.failure?.code == .damaged)
        #expect(throws: HeapError.self) { try made.texts["2"]!.append("x") }
        #expect(throws: HeapError.self) { try heap.commit() }
        try heap.abandon()
        try heap.commit()
        #expect(made.texts["2"]?.count == 2)
    }

    /// No count says more than there can be, so that whoever makes room for the elements can.
    @Test func aDamagedCountIsNoCount() throws {
        let temporary = try TemporaryHeap()
        let heap = temporary.heap
        let sets: PersistentDictionary<Int, PersistentSet<Int>> = try heap.root("sets")
        let maps: PersistentDictionary<Int, PersistentSortedMap<Int, Int>> = try heap.root("maps")
        for (key, count) in [0, 1, 14, 15, 3000].enumerated() {
            for number in 0..<count {
                try sets.collection(forKey: key).insert(number)
                try maps.collection(forKey: key).setValue(number, forKey: number)
            }
            if count == 0 { _ = (try sets.collection(forKey: key), try maps.collection(forKey: key)) }
        }
        // One hash for all of them: segments of any size.
        let clashing: PersistentDictionary<Int, PersistentSet<ClashingKey>> = try heap.root("clashing")
        for number in 0..<6000 { try clashing.collection(forKey: 0).insert(ClashingKey(number: number)) }
        #expect(clashing[0]?.count == 6000 && heap.failure == nil)
        try heap.commit()
        for count in [1 << 62, 1 << 40, 200_000, -1] {
            for key in 0..<5 {
                for header in [sets[key]!.handle.offset, maps[key]!.handle.offset] { heap.space.store(count, at: header + 8) }
                #expect(sets[key]?.count == 0 && Array(sets[key]!) == [])
                #expect(maps[key]?.count == 0 && maps[key]!.map(\.key) == [])
                #expect(heap.failure?.code == .damaged)
                #expect(try !heap.check().problems.isEmpty)
                try heap.abandon()
            }
        }
        heap.space.store(1 << 62, at: clashing[0]!.handle.offset + 8)
        #expect(clashing[0]?.count == 0)
        // What could be, and is not.
        heap.space.store(2999, at: sets[4]!.handle.offset + 8)
        heap.space.store(2999, at: maps[4]!.handle.offset + 8)
        #expect(Array(sets[4]!).count >= 2999 && Array(maps[4]!).count >= 2999)
        heap.space.store(3001, at: sets[4]!.handle.offset + 8)
        heap.space.store(3001, at: maps[4]!.handle.offset + 8)
        #expect(Array(sets[4]!).count == 3000 && Array(maps[4]!).count == 3000)
        #expect(Array(sets[4]!.table.keys).count == 3000 && Array(maps[4]!.values).count == 3000)
        for count in [2999, 3001] {
            heap.space.store(count, at: sets[4]!.handle.offset + 8)
            heap.space.store(count, at: maps[4]!.handle.offset + 8)
            let (set, map) = (sets[4]!, maps[4]!)
            #expect(set.map { $0 }.sorted() == Array(0..<3000) && set.table.map(\.key).sorted() == Array(0..<3000))
            #expect(set.table.keys.map { $0 }.count == 3000 && set.table.values.map { $0 }.count == 3000)
            #expect(map.map(\.value).starts(with: 0..<2999) && map.keys.map { $0 }.starts(with: 0..<2999))
            #expect(map.values.map { $0 }.starts(with: 0..<2999))
        }
    }

    /// A leaf that leads to itself, or back: whoever goes through the map comes to an end, and the heap says that it is damaged.
    @Test func leavesInACircle() throws {
        let temporary = try TemporaryHeap()
        let heap = temporary.heap
        let map: PersistentSortedMap<Int, Int> = try heap.root("map")
        for number in 0..<3000 { try map.setValue(number, forKey: number) }
        try heap.commit()
        let first = map.edgeLeaf(last: false)
        let second = map.leafBeside(first, BTreeFormat.nextLeaf)
        let third = map.leafBeside(second, BTreeFormat.nextLeaf)
        let last = map.edgeLeaf(last: true)
        for (leaf, field, target) in [
            (second, BTreeFormat.nextLeaf, second), (third, BTreeFormat.nextLeaf, first), (last, BTreeFormat.nextLeaf, second),
            (second, BTreeFormat.previousLeaf, second), (second, BTreeFormat.previousLeaf, last),
        ] {
            heap.space.store(target, at: leaf + field)
            var seen = 0
            for _ in map.entries(from: 0) { seen += 1 }
            for _ in map.reversed() { seen += 1 }
            for _ in map { seen += 1 }
            #expect(seen <= 9000)
            _ = map.changes(from: map)
            #expect(heap.failure?.code == .damaged)
            try heap.abandon()
        }
        #expect(map.map(\.key) == Array(0..<3000))
    }

    /// A leaf without room would be enlarged, or split, for ever.
    @Test func aLeafWithoutRoomIsDamaged() throws {
        let made = try make()
        let heap = made.temporary.heap
        let small: PersistentSortedMap<Int, Int> = try heap.root("small")
        for number in 0..<3 { small[number] = number }
        try heap.commit()
        let (one, other) = (small.startIndex.leaf, made.sorted.startIndex.leaf)
        for (leaf, room) in [(one, 0), (other, 1), (other, 0)] {
            heap.space.store(UInt32(0), at: leaf)
            heap.space.store(UInt32(room), at: leaf + BTreeFormat.nodeCapacity)
            #expect(throws: HeapError.self) {
                if leaf == one { try small.setValue(1, forKey: -1) } else { _ = try made.sorted.collection(forKey: "") }
                if leaf == one { try small.setValue(1, forKey: -2) } else { _ = try made.sorted.collection(forKey: "!") }
            }
            try heap.abandon()
        }
    }

    /// What stands for an array that can't be read is never written.
    @Test func whatStandsForADamagedArrayIsNotChanged() throws {
        let made = try make()
        let heap = made.temporary.heap
        heap.space.store(-1, at: made.texts["2"]!.handle.offset + 8)
        let array = made.texts["2"]!
        func isRefused(_ body: () throws -> Void) {
            let error = #expect(throws: HeapError.self) { try body() }
            #expect(error?.code == .damaged)
        }
        isRefused { try array.removeSubrange(0..<0) }
        isRefused { try array.removeAll { _ in true } }
        isRefused { try array.removeAll() }
        isRefused { try array.replaceSubrange(0..<0, with: []) }
        isRefused { try array.replaceSubrange(0..<0, with: ["a"]) }
        isRefused { try array.append(contentsOf: ["a"]) }
        isRefused { try array.insert("a", at: 0) }
        isRefused { try array.reserveCapacity(1) }
        isRefused { try array.release() }
        #expect(array.isEmpty)
        try heap.abandon()
        #expect(made.texts["2"]?.count == 2)
    }
}
