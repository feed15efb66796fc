import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import TestSupport
import Testing
import VMTypes

/// What recovery gives up of a journal's end, and what must not come back with it.
@Suite struct TornTailTests {
    let folder = TemporaryFolder("tail", inMemory: true)
    private static let pages = 1200

    private func make() throws -> (PageStore, ObjectID, Heap) {
        _ = try PageStore.create(in: folder.path, options: .init(ringBytes: 64 << 20))
        let store = try PageStore.open(folder.path)
        let heap = Heap(pages: Self.pages)
        let id = ObjectID(store.newID())
        _ = try store.commit([], operations: [.createObject(id: id, name: "", size: UInt64(heap.count), residency: .shared)])
        return (store, id, heap)
    }

    private func write(_ store: PageStore, _ id: ObjectID, _ heap: Heap, _ pages: [Int], _ durability: Durability = .synced) throws -> Version {
        let next = store.lastVersion.rawValue + 1
        for page in pages { heap.fill(page, next << 20 + UInt64(page)) }
        return try store.commit([heap.layer(id, pages)], durability: durability)
    }

    /// Where the bytes of the last record begin in the journal's file, and those of its pages.
    private func lastRecord(_ store: PageStore) throws -> (start: Int, pages: Int) {
        let header = try #require(store.state.withLock { $0.young.last?.header })
        let start = Journal.superblockSize + Int(header.position) % store.ringBytes
        return (start, start + Int(header.length) - Int(header.pageCount) * Page.size)
    }

    private func flip(_ offset: Int) throws {
        let file = try File(folder.path + "/" + StoreFile.journal, O_RDWR)
        let byte = AlignedBuffer(capacity: Page.size)
        try file.read(into: byte[0..<1], at: offset)
        byte.base.storeBytes(of: byte.base.load(as: UInt8.self) ^ 1, as: UInt8.self)
        try file.write(UnsafeRawBufferPointer(byte[0..<1]), at: offset)
    }

    /// An intact record behind one that was given up stays where it was: it belongs to nothing.
    @Test func aRecordBehindATornOneNeverChainsOn() throws {
        var (store, id, heap) = try make()
        let kept = store.lastVersion
        _ = try write(store, id, heap, [0, 1], .deferred)
        let torn = try lastRecord(store)
        let behind = try write(store, id, heap, [2, 3], .deferred)
        store.abandon()
        try flip(torn.start + 60)
        store = try PageStore.open(folder.path)
        #expect(store.lastVersion == kept)
        // As long as the one that was given up: it ends where the one behind that begins.
        let again = try write(store, id, heap, [0, 1])
        #expect(try lastRecord(store) == torn && again > behind)
        store.abandon()
        store = try PageStore.open(folder.path)
        #expect(store.lastVersion == again)
        #expect(try firstWord(try store.head(of: id), 2) == 0)
        store.abandon()
    }

    @Test func aRecordLacksAPageWhereOneIsTorn() throws {
        var (store, id, heap) = try make()
        let kept = try write(store, id, heap, [0])
        _ = try write(store, id, heap, [0, 1, 2])
        let torn = try lastRecord(store)
        store.abandon()
        try flip(torn.pages + Page.size + 4095)
        store = try PageStore.open(folder.path)
        #expect(store.lastVersion == kept)
        #expect(try firstWord(try store.head(of: id), 0) == kept.rawValue << 20)
        store.abandon()
    }

    /// What is no page is covered by the prologue's checksum: map changes, names.
    @Test(arguments: [false, true]) func aRecordWhoseOperationsAreTornIsNone(isProvedFlushed: Bool) throws {
        var (store, _, _) = try make()
        let kept = store.lastVersion
        _ = try store.commit([], operations: [.mapChanges([UInt8](repeating: 7, count: 9000))])
        let torn = try lastRecord(store)
        if isProvedFlushed { _ = try store.commit([], operations: [.mapChanges([8])]) }
        store.abandon()
        try flip(torn.start + 5000)
        if isProvedFlushed {
            #expect { try PageStore.open(folder.path) } throws: { ($0 as? StoreError)?.code == .damaged }
            return
        }
        store = try PageStore.open(folder.path)
        #expect(store.lastVersion == kept)
        store.abandon()
    }

    /// Somebody was told of it.
    @Test func theVersionOfALostCommitIsNotGivenAgain() throws {
        var (store, id, heap) = try make()
        let lost = try write(store, id, heap, [0], .deferred)
        let torn = try lastRecord(store)
        store.abandon()
        try flip(torn.start + 60)
        store = try PageStore.open(folder.path)
        #expect(store.lastVersion < lost)
        #expect(try write(store, id, heap, [1]) > lost)
        store.abandon()
    }

    private func parts(_ store: PageStore) throws -> [Int] {
        try store.lmdb.read { (t) throws(StoreError) in [try t.count(.records), try t.count(.graveyard)] }
    }

    /// Pages that went in ahead of a commit that never came take no space after a recovery; those of one that came are its own.
    @Test(arguments: [false, true]) func whatNoCommitNamesGoesAndTheRestStays(isCommitted: Bool) throws {
        var (store, id, heap) = try make()
        let stage = try store.stage(id)
        heap.fill(5, 55)
        try stage.add(page: 5, heap.base + 5 * Page.size, size: UInt64(heap.count))
        if isCommitted {
            _ = try store.commit(stage, size: UInt64(heap.count), operations: [])
        } else {
            _ = try stage.finish(size: UInt64(heap.count), floorPage: .max)
        }
        #expect(try parts(store) == [1, 1])
        store.abandon()
        store = try PageStore.open(folder.path)
        #expect(store.recovery.orphans == (isCommitted ? 0 : 1))
        #expect(try parts(store) == (isCommitted ? [1, 1] : [0, 0]))
        #expect(try firstWord(try store.head(of: id), 5) == (isCommitted ? 55 : 0))
        store.abandon()
        withExtendedLifetime(stage) {}
    }
}
