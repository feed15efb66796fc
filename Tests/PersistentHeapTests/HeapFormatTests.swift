import Foundation
import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// docs/FORMAT.md's section on heaps, found in the bytes of a real one by the offsets given there.
@Suite struct HeapFormatTests {
    let fixture = HeapFixture()

    private func number(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Int { bytes.loadUnaligned(fromByteOffset: offset, as: Int.self) }

    @Test func aHeapsBytesAreThoseOfThePage() throws {
        let heap = try fixture.open()
        let n = try heap.root("n", version: 3, default: 77)
        let large = try heap.allocate(byteCount: 40_000)
        let small = try heap.allocate(byteCount: 200)
        let home = Int(bitPattern: heap.space.base)
        try heap.commit()
        try heap.close()

        let store = try Store.open(fixture.path)
        let state = try store.mapState(.init(name: "heap"))
        state.withBytes { bytes in
            let capacity = 64 << 20
            #expect(bytes.count == capacity)
            #expect(bytes.prefix(8).elementsEqual("VARVHEAP".utf8))
            #expect(bytes.load(fromByteOffset: 8, as: UInt32.self) == 1)
            #expect(number(bytes, 16) == capacity)
            #expect(number(bytes, 24) == home)

            func places(_ units: Int) -> (bitmap: Int, first: Int) {
                let bitmap = (4096 + units + 4095) / 4096 * 4096
                return (bitmap, (bitmap + units * 128 + 16_383) / 16_384 * 16_384)
            }
            var units = (capacity - 4096) / (16_384 + 1 + 128)
            while places(units).first + units * 16_384 > capacity { units -= 1 }
            #expect(number(bytes, 32) == units)
            #expect(number(bytes, 40) == 256)
            let (bitmap, first) = places(units)

            func isSet(_ offset: Int) -> Bool {
                let granule = (offset - first) / 16
                return number(bytes, bitmap + granule / 64 * 8) >> (granule % 64) & 1 == 1
            }
            let atLarge = Int(bitPattern: large) - home, atSmall = Int(bitPattern: small) - home
            let largeUnit = (atLarge - first) / 16_384, smallUnit = (atSmall - first) / 16_384
            #expect((0...3).map { bytes[4096 + largeUnit + $0] }.prefix(3) == [63, 127, 127])
            #expect(bytes[4096 + smallUnit] == 11)  // 160, 192, 224: class 11 holds 200 bytes
            #expect(isSet(atLarge) && isSet(atSmall) && !isSet(atSmall + 16) && !isSet(atSmall + 224))

            #expect(number(bytes, 56) == 1)
            let record = number(bytes, 48)
            #expect(isSet(record))
            let name = number(bytes, record), layout = number(bytes, record + 16), value = number(bytes, record + 32)
            #expect(bytes.load(fromByteOffset: record + 8, as: UInt32.self) == 1)
            #expect(bytes.load(fromByteOffset: record + 12, as: UInt32.self) == 3)
            #expect(bytes.load(fromByteOffset: record + 24, as: UInt32.self) == 3)
            #expect(bytes.load(fromByteOffset: record + 28, as: UInt32.self) == 1)
            #expect(bytes[name] == UInt8(ascii: "n"))
            #expect(bytes[layout..<layout + 3].elementsEqual("Int".utf8))
            #expect(value == n.ref.offset && number(bytes, value) == 77)
        }
        try store.close()
    }

    @Test func sizesOfBlocksAreThoseOfThePage() {
        #expect(SizeClasses.end == 41 && ThreadCache.classCount == 41)
        #expect(Array(SizeClasses.sizes[1...12]) == [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256])
        #expect(SizeClasses.sizes[40] == 32_768)
        for number in 1..<41 {
            let size = SizeClasses.sizes[number]
            var units = (8 * size + 16_383) / 16_384
            while units < 16, units * 16_384 % size * 16 > units * 16_384 { units += 1 }
            #expect(SizeClasses.spanUnits[number] == units)
        }
        for byteCount in 1...32_768 {
            let number = SizeClasses.number(for: byteCount)
            if SizeClasses.sizes[number] < byteCount || SizeClasses.sizes[number - 1] >= byteCount {
                Issue.record("\(byteCount) bytes are of class \(number)")
            }
        }
    }

    /// A heap whose bytes contradict each other says where.
    @Test func theCheckFindsWhatIsWrong() throws {
        let heap = try fixture.open()
        _ = try heap.root("n", default: 1)
        let small = heap.offset(of: try heap.allocate(byteCount: 200))
        let large = heap.offset(of: try heap.allocate(byteCount: 100_000))
        try heap.commit()
        let space = heap.space
        func problem(_ damage: () -> Void) throws -> String {
            damage()
            defer { try? heap.abandon() }
            return try heap.check().problems.joined(separator: "; ")
        }
        let unit = (small - space.geometry.units) >> 14, largeUnit = (large - space.geometry.units) >> 14
        let granule = (small - space.geometry.units) >> 4
        #expect(try problem { space.bitmap[(granule + 1) >> 6] |= 1 << UInt64((granule + 1) & 63) }.contains("marked as a block's beginning"))
        // What this process keeps of a span, it keeps once it has allocated from it.
        #expect(try problem {
            _ = try? heap.allocate(byteCount: 200)
            space.bitmap[granule >> 6] &= ~(1 << UInt64(granule & 63))
        }.contains("noted otherwise"))
        #expect(try problem { space.table[largeUnit] = 0 }.contains("nothing leads to"))
        #expect(try problem { space.table[unit] = 50 }.contains("code 50"))
        #expect(try problem { space.setHeader(40, 7) }.contains("high-water mark is 7"))
        #expect(try problem { space.setHeader(56, 1000) }.contains("directory of 1000 roots"))
        #expect(try problem { space.store(8, at: space.header(48) + 32) }.contains("value of root 0"))
        #expect(try heap.check().problems == [])
        try heap.close()
    }

    /// Roots that are not where the heap says are an error, and never stop the program.
    @Test func aDamagedDirectoryIsAnError() throws {
        let damages: [(what: String, damage: (HeapSpace, Int) -> Void)] = [
            ("a count below 0", { space, _ in space.setHeader(HeapFormat.rootCountOffset, -1) }),
            ("a count beyond the block", { space, _ in space.setHeader(HeapFormat.rootCountOffset, 1 << 60) }),
            ("a directory outside", { space, _ in space.setHeader(HeapFormat.directoryOffset, 1 << 50) }),
            ("a directory in no block", { space, place in space.setHeader(HeapFormat.directoryOffset, place + 16) }),
            ("a name outside", { space, place in space.store(-5, at: place) }),
            ("a name longer than its block", { space, place in space.store(UInt32.max, at: place + 8) }),
            ("a layout outside", { space, place in space.store(1 << 62, at: place + 16) }),
            ("a value outside", { space, place in space.store(1 << 62, at: place + 32) }),
        ]
        for (what, damage) in damages {
            let fixture = HeapFixture()
            do {
                let heap = try fixture.open()
                _ = try heap.root("n", default: 1)
                damage(heap.space, heap.space.header(HeapFormat.directoryOffset))
                try heap.commit()
                try heap.close()
            }
            let heap = try fixture.open()
            #expect(heapError { _ = try heap.root("n", default: 1) }?.code == .damaged, "\(what)")
            #expect(heapError { _ = try heap.root("m", default: 1) }?.code == .damaged, "\(what)")
            #expect(heapError { try heap.removeRoot("n") }?.code == .damaged, "\(what)")
            #expect(heap.rootNames == [], "\(what)")
            #expect(heap.failure?.code == .damaged, "\(what)")
            try heap.close()
        }
    }

    @Test func anotherObjectOrANewerHeapIsRefused() throws {
        do {
            let heap = try fixture.open()
            heap.space.base.storeBytes(of: 2, toByteOffset: 8, as: UInt32.self)
            try heap.commit()
            try heap.close()
        }
        #expect(heapError { _ = try fixture.open() }?.code == .newerFormat)
        #expect(heapError { _ = try PersistentHeap.open(fixture.path, at: .head) }?.code == .newerFormat)
        let store = try Store.open(fixture.path)
        try store.createObject(named: "other", size: 2 << 20, residency: .exclusive)
        var bytes: [UInt8]? = Array(repeating: 7, count: 100)
        try store.write("other", offset: 0, from: {
            defer { bytes = nil }
            return bytes
        })
        #expect(heapError { _ = try PersistentHeap.open(in: store, options: .init(name: "other")) }?.code == .damaged)
        try store.createObject(named: "shared", size: 2 << 20)
        #expect(heapError { _ = try PersistentHeap.open(in: store, options: .init(name: "shared")) }?.cause?.code == .unsupported)
        try store.close()
    }
}
