import Glibc
import PageStore
import TestSupport
import Testing
import VMTypes

/// Pages in plain memory, to commit from.
final class Heap: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let count: Int

    init(pages: Int) {
        count = pages * Page.size
        base = .allocate(byteCount: count, alignment: Page.size)
        base.initializeMemory(as: UInt8.self, repeating: 0, count: count)
    }

    deinit { base.deallocate() }

    func fill(_ page: Int, _ value: UInt64) {
        let words = (base + page * Page.size).assumingMemoryBound(to: UInt64.self)
        for i in 0..<Page.size / 8 { words[i] = value &+ UInt64(i) }
    }

    func clear(_ page: Int) { memset(base + page * Page.size, 0, Page.size) }

    func layer(_ object: ObjectID, _ pages: [Int]) -> LayerInput {
        LayerInput(
            object: object, size: UInt64(count), runs: pages.sorted().map { PageRange(start: $0, count: 1) },
            origin: UnsafeRawPointer(base))
    }
}

func firstWord(_ view: ObjectView, _ page: Int) throws -> UInt64 {
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: Page.size, alignment: Page.size)
    defer { bytes.deallocate() }
    try view.read(PageRange(start: page, count: 1), into: bytes)
    return bytes.load(as: UInt64.self)
}

@Suite struct PageStoreTests {
    let folder = TemporaryFolder()

    private func make(ring: Int = 1 << 20) throws -> PageStore {
        _ = try PageStore.create(in: folder.path, options: .init(ringBytes: ring))
        return try PageStore.open(folder.path)
    }

    private func object(_ store: PageStore, _ name: String, pages: Int) throws -> ObjectID {
        let id = ObjectID(store.newID())
        _ = try store.commit(
            [], operations: [.createObject(id: id, name: name, size: UInt64(pages * Page.size), residency: .exclusive)])
        return id
    }

    @Test func committedPagesAreReadBackAfterReopeningCleanly() throws {
        var store = try make()
        let heap = Heap(pages: 100)
        let id = try object(store, "a", pages: 100)
        for page in 0..<100 { heap.fill(page, UInt64(page) << 32) }
        let version = try store.commit([heap.layer(id, Array(0..<100))])
        #expect(version == Version(2))
        try store.close()
        store = try PageStore.open(folder.path)
        #expect(store.recovery.wasClean)
        let view = try store.head(of: id)
        for page in 0..<100 { #expect(try firstWord(view, page) == UInt64(page) << 32) }
        try store.close()
    }

    @Test func snapshotsKeepTheirBytesThroughSettlingAndReclaiming() throws {
        let store = try make()
        let heap = Heap(pages: 300)
        let id = try object(store, "a", pages: 300)
        for page in 0..<300 { heap.fill(page, 7) }
        _ = try store.commit([heap.layer(id, Array(0..<300))])
        let snapshot = try store.commit(
            [], operations: [.createSnapshot(name: "s", version: .infinity, object: nil, message: "")])
        for round in 0..<20 {
            for page in stride(from: round, to: 300, by: 3) { heap.fill(page, UInt64(100 + round)) }
            _ = try store.commit([heap.layer(id, Array(stride(from: round, to: 300, by: 3)))])
            if round % 5 == 0 { try store.settle() }
        }
        let before = try store.reclaim(dryRun: true)
        _ = try store.reclaim()
        #expect(before.layersMerged > 0)
        let old = try store.view(of: id, at: snapshot)
        for page in 0..<300 { #expect(try firstWord(old, page) == 7) }
        let head = try store.head(of: id)
        for page in 0..<300 { #expect(try firstWord(head, page) == (heap.base + page * Page.size).load(as: UInt64.self)) }
        #expect(old.differences(from: head).reduce(0) { $0 + $1.count } == 300)
        try store.close()
    }

    @Test func manyCommitsWrapTheRing() throws {
        var store = try make(ring: 256 << 10)
        let heap = Heap(pages: 64)
        let id = try object(store, "a", pages: 64)
        var generator = SeededGenerator(seed: 1)
        for round in 0..<2000 {
            let page = Int.random(in: 0..<64, using: &generator)
            heap.fill(page, UInt64(round))
            _ = try store.commit([heap.layer(id, [page])], durability: round % 3 == 0 ? .synced : .deferred)
        }
        try store.close()
        store = try PageStore.open(folder.path)
        let head = try store.head(of: id)
        for page in 0..<64 { #expect(try firstWord(head, page) == (heap.base + page * Page.size).load(as: UInt64.self)) }
        try store.close()
    }

    @Test func aCommitLargerThanTheRingIsOneVersion() throws {
        var store = try make(ring: 256 << 10)
        let heap = Heap(pages: 1000)
        let id = try object(store, "a", pages: 1000)
        for page in 0..<1000 { heap.fill(page, UInt64(page) << 8) }
        _ = try store.commit([heap.layer(id, Array(0..<1000))])
        let head = try store.head(of: id)
        for page in 0..<1000 { #expect(try firstWord(head, page) == UInt64(page) << 8) }
        try store.close()
        store = try PageStore.open(folder.path)
        let again = try store.head(of: id)
        for page in 0..<1000 { #expect(try firstWord(again, page) == UInt64(page) << 8) }
        try store.close()
    }
}
