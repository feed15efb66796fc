import Foundation
import Glibc
import Synchronization
@testable import PageStore
import PageStoreModel
import TestSupport
import Testing
import VMTypes

/// What recovery makes of a ring whose chain ends: a torn tail, a damaged record, or a page store that is too old.
@Suite struct RecoveryTests {
    let folder = TemporaryFolder()
    /// So large that nothing here is settled in the background.
    private static let ring = 64 << 20

    private func make(ring: Int = ring) throws -> (PageStore, ObjectID, Heap) {
        _ = try PageStore.create(in: folder.path, options: .init(ringBytes: ring))
        let store = try PageStore.open(folder.path)
        let heap = Heap(pages: 1200)
        let id = ObjectID(store.newID())
        _ = try store.commit([], operations: [.createObject(id: id, name: "", size: UInt64(heap.count), residency: .shared)])
        return (store, id, heap)
    }

    /// A commit of `count` pages; answers where its record lies in the file.
    @discardableResult
    private func commit(_ store: PageStore, _ id: ObjectID, _ heap: Heap, _ count: Int) throws -> Int? {
        let next = store.lastVersion.rawValue + 1
        for page in 0..<count { heap.fill(page, next << 20 + UInt64(page)) }
        _ = try store.commit([heap.layer(id, Array(0..<count))])
        return store.state.withLock { $0.young.last.map { Journal.superblockSize + Int($0.header.position) % store.ringBytes } }
    }

    private func damage(_ record: Int?) throws {
        let offset = try #require(record)
        let file = try File(folder.path + "/" + StoreFile.journal, O_RDWR)
        let byte = AlignedBuffer(capacity: Page.size)
        try file.read(into: byte[0..<1], at: offset + 60)
        byte.base.storeBytes(of: byte.base.load(as: UInt8.self) ^ 1, as: UInt8.self)
        try file.write(UnsafeRawBufferPointer(byte[0..<1]), at: offset + 60)
    }

    /// One fault over the end of one record and the beginning of the next.
    private func damage(across record: Int?) throws {
        try damage(record)
        try damage(record.map { $0 - Page.size })
    }

    private func expectDamaged(line: Int = #line) {
        #expect { try PageStore.open(folder.path) } throws: { ($0 as? StoreError)?.code == .damaged }
    }

    @Test(arguments: [1, 300, 1000]) func aFlushedRecordThatIsDamagedIsNoTornTail(pages: Int) throws {
        let (store, id, heap) = try make()
        try commit(store, id, heap, 3)
        let damaged = try commit(store, id, heap, pages)
        try commit(store, id, heap, 2)
        store.abandon()
        try damage(damaged)
        expectDamaged()
    }

    @Test(arguments: [1, 300, 1000]) func theFirstRecordBehindTheMarkMayBeTheDamagedOne(pages: Int) throws {
        let (store, id, heap) = try make()
        try commit(store, id, heap, 3)
        try store.settle()
        let damaged = try commit(store, id, heap, pages)
        try commit(store, id, heap, 2)
        store.abandon()
        try damage(damaged)
        expectDamaged()
    }

    @Test(arguments: [1, 300, 1000]) func aRecordThatNothingFollowsIsATornTail(pages: Int) throws {
        let (store, id, heap) = try make()
        try commit(store, id, heap, 3)
        let last = store.lastVersion
        let damaged = try commit(store, id, heap, pages)
        store.abandon()
        try damage(damaged)
        let again = try PageStore.open(folder.path)
        #expect(again.lastVersion == last)
        again.abandon()
    }

    /// What recovery reads ahead is a guess at how long the records are, and where the ring goes round.
    @Test(arguments: [64 << 20, 3 << 20]) func aChainOfRecordsOfAllLengthsIsFollowedToItsEnd(ring: Int) throws {
        let (store, id, heap) = try make(ring: ring)
        let lengths = [1, 1, 2, 1, 40, 250, 250, 250, 249, 247, 250, 16, 15, 15, 15, 60, 1, 1, 1, 1, 1, 1, 1, 240, 240, 230, 3]
        for count in lengths + lengths { try commit(store, id, heap, count) }
        var versions: [Version] = []
        store.abandon { versions = store.state.withLock { $0.young.map(\.header.version) } }
        #expect(!versions.isEmpty)
        let again = try PageStore.open(folder.path)
        #expect(again.recovery.records == versions.count)
        again.abandon {
            let found = again.state.withLock { $0.young.map(\.header.version) }
            // What recovery finds may have begun to settle.
            #expect(found == versions.suffix(found.count))
        }
    }

    /// Records that do not fit the ring's end leave a gap there; a damaged one may have left it.
    @Test func aDamagedRecordAtTheRingsBeginningIsFound() throws {
        let (store, id, heap) = try make()
        while store.state.withLock({ Int($0.head) }) < Self.ring - (2 << 20) {
            try commit(store, id, heap, 200)
            try store.settle()
        }
        let damaged = try commit(store, id, heap, 1000)
        #expect(damaged == Journal.superblockSize)
        try commit(store, id, heap, 2)
        store.abandon()
        try damage(damaged)
        expectDamaged()
    }

    @Test func aFaultAcrossTwoRecordsIsNoTornTail() throws {
        let (store, id, heap) = try make()
        try commit(store, id, heap, 3)
        try commit(store, id, heap, 170)
        let damaged = try commit(store, id, heap, 170)
        try commit(store, id, heap, 2)
        store.abandon()
        try damage(across: damaged)
        expectDamaged()
    }

    /// The record behind the damaged one did not fit the ring's end, and lies at its beginning.
    @Test func theProofMayLieAtTheRingsBeginning() throws {
        let ring = 3 << 20
        let (store, id, heap) = try make(ring: ring)
        repeat {
            try commit(store, id, heap, 10)
            try store.settle()
        } while store.state.withLock { Int($0.head) % ring } < 270 * Page.size
        // Nothing settles from here on: the copy holds both records.
        store.settling._unsafeLock()
        let damaged = try commit(store, id, heap, 250)
        let behind = try commit(store, id, heap, 250)
        #expect(behind == Journal.superblockSize)
        let copy = TemporaryFolder()
        let path = copy.path + "/store"
        try FileManager.default.copyItem(atPath: folder.path, toPath: path)
        store.settling._unsafeUnlock()
        store.abandon()
        try FileManager.default.removeItem(atPath: folder.path)
        try FileManager.default.moveItem(atPath: path, toPath: folder.path)
        try damage(damaged)
        expectDamaged()
    }

    @Test func anOlderPageStoreIsRefusedOrMissesNothing() throws {
        let (store, id, heap) = try make(ring: 1 << 20)
        let older = TemporaryFolder()
        var generator = SeededGenerator(seed: 3)
        var copies: [(name: String, version: Version)] = []
        let rounds = Budget.of(quick: 60, default: 120, full: 400)
        for round in 0..<rounds {
            try commit(store, id, heap, Int.random(in: 1...60, using: &generator))
            if round % 4 == 0 { try store.settle() }
            if round % 6 == 1 {
                let name = "\(older.path)/\(round)"
                // Not while the settler writes it.
                store.settling._unsafeLock()
                defer { store.settling._unsafeUnlock() }
                try FileManager.default.copyItem(atPath: "\(folder.path)/\(StoreFile.pages)", toPath: name)
                copies.append((name, store.lastVersion))
            }
        }
        let last = store.lastVersion
        store.abandon()
        for copy in copies {
            let pages = "\(folder.path)/\(StoreFile.pages)"
            try FileManager.default.removeItem(atPath: pages)
            try FileManager.default.copyItem(atPath: copy.name, toPath: pages)
            do {
                let store = try PageStore.open(folder.path)
                #expect(store.lastVersion == last, "a copy of version \(copy.version)")
                store.abandon()
            } catch { #expect(error.code == .damaged, "\(error)") }
        }
    }

    /// LMDB would believe it, and free pages of others.
    @Test func aDamagedLengthOfALargeValueFreesNothing() throws {
        var (store, id, heap) = try make()
        _ = try store.commit([], operations: [.setRetention(Retention(versions: 1, seconds: 0))])
        for _ in 0..<2 {
            try commit(store, id, heap, 5)
            try store.settle()
        }
        store.abandon()
        let file = try File(folder.path + "/" + StoreFile.pages, O_RDWR)
        let page = AlignedBuffer(capacity: Page.size)
        for offset in stride(from: 2 * Page.size, to: try file.size() / Page.size * Page.size, by: Page.size) {
            try file.read(into: page[0..<Page.size], at: offset)
            guard page.base.load(fromByteOffset: 16, as: UInt64.self) == LayerPart.magic else { continue }
            page.base.storeBytes(of: 9, toByteOffset: 12, as: UInt32.self)
            try file.write(UnsafeRawBufferPointer(page[0..<Page.size]), at: offset)
        }
        store = try PageStore.open(folder.path)
        for page in 0..<5 {
            #expect(try firstWord(try store.head(of: id), page) == (heap.base + page * Page.size).load(as: UInt64.self))
        }
        #expect { try store.reclaim() } throws: { ($0 as? StoreError)?.code == .damaged }
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        #expect(findings.contains { $0.severity == .damage })
        store.abandon()
    }

    /// The bound holds before the record is written, and falls back when the store is closed.
    @Test func theLongestRecordIsKnownBeforeItIsWritten() throws {
        var (store, id, heap) = try make()
        #expect(try PageStore.readMeta(store.lmdb).longestRecord == 1 << 20)
        try commit(store, id, heap, 1000)
        let length = store.state.withLock { $0.young.last!.header.length }
        #expect(length > 1 << 20 && Journal.roundedLongestRecord(length) >= length)
        #expect(try PageStore.readMeta(store.lmdb).longestRecord == Journal.roundedLongestRecord(length))
        store.abandon()
        store = try PageStore.open(folder.path)
        #expect(try PageStore.readMeta(store.lmdb).longestRecord == Journal.roundedLongestRecord(length))
        try store.close()
        store = try PageStore.open(folder.path)
        #expect(try PageStore.readMeta(store.lmdb).longestRecord == 1 << 20)
        try store.close()
    }
}
