import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// Heaps whose tables are damaged: allocating and freeing throw, or pass the place over, and checks say what is wrong.
@Suite struct HeapDamageTests {
    /// A heap that was opened after its blocks were made: nothing of it is known yet.
    private func make(_ folder: TemporaryFolder, _ body: (PersistentHeap, [Int]) throws -> Void) throws {
        var options = PersistentHeap.Options()
        options.capacity = 16 << 20
        var offsets: [Int] = []
        do {
            let heap = try PersistentHeap.open(folder.path + "/heap.varve", options: options)
            for size in [16, 48, 200, 1000, 6000, 30000, 60000] {
                for _ in 0..<6 { offsets.append(heap.offset(of: try heap.allocate(byteCount: size))) }
            }
            try heap.commit()
            try heap.close()
        }
        let heap = try PersistentHeap.open(folder.path + "/heap.varve", options: options)
        try body(heap, offsets)
        try heap.close()
    }

    /// Uses the allocator as far as it goes; what it throws says that the heap is damaged, or full of what can't be used.
    private func use(_ heap: PersistentHeap, _ offsets: [Int]) {
        func allows(_ codes: Set<HeapError.Code>, _ body: () throws(HeapError) -> Void) {
            do throws(HeapError) { try body() } catch { #expect(codes.contains(error.code), "\(error)") }
        }
        for offset in offsets { allows([.damaged, .notAllocated]) { () throws(HeapError) in try heap.space.free(offset) } }
        var made: [Int] = []
        for size in [16, 48, 200, 1000, 6000, 30000, 60000, 500_000] {
            for _ in 0..<12 {
                allows([.damaged, .full]) { () throws(HeapError) in made.append(try heap.space.allocate(byteCount: size)) }
            }
        }
        for offset in made { allows([.damaged, .notAllocated]) { () throws(HeapError) in try heap.space.free(offset) } }
        for offset in offsets { _ = try? heap.space.reallocate(offset, byteCount: 100) }
        _ = try? heap.statistics()
        _ = try? HeapReach(heap)
    }

    @Test(arguments: [0x00, 0x01, 0x28, 0x29, 0x32, 0x3e, 0x3f, 0x40, 0x41, 0x69, 0x7e, 0x7f, 0x80, 0xff] as [UInt8])
    func aUnitThatCannotBe(_ code: UInt8) throws {
        let folder = TemporaryFolder("heapdamage", inMemory: true)
        try make(folder) { heap, offsets in
            let space = heap.space
            var seen: Set<UInt8> = [0]
            // One unit of each kind, and the last one.
            let units = (0..<space.geometry.unitCount).filter { seen.insert(space.table[$0]).inserted }
            for unit in units + [space.geometry.unitCount - 1] {
                let old = space.table[unit]
                guard old != code else { continue }
                space.store(code, at: space.geometry.table + unit)
                // What lies above the high-water mark is not looked at, and any block may be one of 16 bytes.
                #expect(try unit == space.geometry.unitCount - 1 || code == 1 || !heap.check().problems.isEmpty, "unit \(unit), of code \(old), is \(code)")
                use(heap, offsets)
                try heap.abandon()
                #expect(try heap.check().problems == [])
            }
            use(heap, offsets)
            #expect(try heap.statistics().allocatedBlocks == 0)
        }
    }

    /// A block of the last unit that would reach beyond the heap.
    @Test func aBlockThatWouldLeadOutOfTheHeap() throws {
        let folder = TemporaryFolder("heapdamage", inMemory: true)
        try make(folder) { heap, _ in
            let space = heap.space
            let unit = space.geometry.unitCount - 1
            let granule = (unit + 1) * HeapFormat.granulesPerUnit - 1
            space.store(UInt8(SizeClasses.end - 1), at: space.geometry.table + unit)
            space.store(UInt8(0x80), at: space.geometry.bitmap + granule / 8)
            let offset = space.offset(ofGranule: granule)
            do throws(HeapError) {
                _ = try space.reallocate(offset, byteCount: 40_000)
                Issue.record("it was copied")
            } catch { #expect(error.code == .damaged, "\(error)") }
            do throws(HeapError) {
                _ = try space.usableSize(offset)
                Issue.record("it has a size")
            } catch { #expect(error.code == .damaged, "\(error)") }
            #expect(space.knownBlock(at: offset) == nil)
            try heap.abandon()
        }
    }

    @Test(arguments: [-1, Int.min, Int.max, 3, 1 << 40]) func aHighWaterMarkThatCannotBe(_ mark: Int) throws {
        let folder = TemporaryFolder("heapdamage", inMemory: true)
        try make(folder) { heap, offsets in
            let space = heap.space
            space.store(mark, at: HeapFormat.highWaterOffset)
            #expect(try !heap.check().problems.isEmpty)
            // Nothing that is in use is handed out.
            var made: [Int] = []
            do throws(HeapError) { for _ in 0..<40 { made.append(try space.allocate(byteCount: 50_000)) } } catch {
                #expect(error.code == .damaged || error.code == .full)
            }
            #expect(Set(made).isDisjoint(with: offsets))
            use(heap, offsets)
            try heap.abandon()
            #expect(try heap.check().problems == [])
        }
    }

    @Test(arguments: 0..<CollectionsBudget.runs) func tablesOfRandomBytes(_ seed: Int) throws {
        let folder = TemporaryFolder("heapdamage", inMemory: true)
        var generator = SeededGenerator(seed: UInt64(seed))
        try make(folder) { heap, offsets in
            let space = heap.space
            for _ in 0..<30 {
                for _ in 0..<Int.random(in: 1...6, using: &generator) {
                    let place = Bool.random(using: &generator)
                        ? space.geometry.table + Int.random(in: 0..<80, using: &generator)
                        : space.geometry.bitmap + Int.random(in: 0..<80 * HeapFormat.granulesPerUnit / 8, using: &generator)
                    space.store(UInt8.random(in: 0...255, using: &generator), at: place)
                }
                _ = try heap.check()
                use(heap, offsets)
                try heap.abandon()
                #expect(try heap.check().problems == [])
            }
        }
    }
}
