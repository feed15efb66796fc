import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import Synchronization
import TestSupport
import Testing
import VMTypes

/// Compares each object's settled page table, as an opening would make it, with what the headers of its layers say.
///
/// Returns how many objects have a checkpoint that an opening would use.
@discardableResult
func checkCheckpoints(_ store: PageStore) throws -> Int {
    // Merging in the background must not come between the two that are compared.
    store.settling._unsafeLock()
    defer { store.settling._unsafeUnlock() }
    var used = 0
    for info in try store.objects() where info.isLive {
        var problem: String?
        try store.lmdb.read { (t) throws(StoreError) in
            guard let settled = try t.row(.meta, StoreMeta.key, StoreMeta.self)?.mark.settled, info.born <= settled else { return }
            let segments = try store.segments(info.id, at: settled) { (id) throws(StoreError) in try Metadata.lineage(of: id, t) }
            var (storage, base, _) = try store.settledStorage(segments, settled: settled, t)
            var headers = try store.slotsFromHeaders(segments)
            if base != nil { used += 1 }
            for page in 0..<max(storage.extent, headers.extent) where storage[page] != headers[page] {
                problem = "page \(page) of object \(info.id): \(storage[page]) by the checkpoint, \(headers[page]) by the headers"
            }
            storage.deallocate()
            headers.deallocate()
        }
        if let problem { throw Mismatch(problem) }
    }
    return used
}

@Suite struct CheckpointTests {
    let folder = TemporaryFolder()
    private static let chunk = CheckpointChunk.pages
    private static let pages = 3 * chunk + 100

    /// A store with one object of several chunks, some never written, settled and checkpointed.
    private func make(_ policy: CheckpointPolicy = CheckpointPolicy(settledParts: 1, closingParts: 1)) throws -> (PageStore, ObjectID, Heap) {
        _ = try PageStore.create(in: folder.path, options: .init(ringBytes: 8 << 20))
        let store = try PageStore.open(folder.path)
        store.checkpointPolicy = policy
        let heap = Heap(pages: Self.pages)
        let id = ObjectID(store.newID())
        let size = UInt64(heap.count)
        _ = try store.commit([], operations: [.createObject(id: id, name: "a", size: size, residency: .shared)])
        // A long run over the border of two chunks, and single pages.
        let written = Array(Self.chunk - 40..<Self.chunk + 60) + stride(from: 2 * Self.chunk + 1, to: 2 * Self.chunk + 300, by: 2)
        for page in written { heap.fill(page, UInt64(page)) }
        _ = try store.commit([heap.layer(id, written)])
        try store.settle()
        try store.checkpointWhereWorthwhile()
        return (store, id, heap)
    }

    private func reopen(_ store: PageStore, closed: Bool = true) throws -> PageStore {
        if closed { try store.close() } else { store.abandon() }
        let store = try PageStore.open(folder.path)
        store.checkpointPolicy = CheckpointPolicy(settledParts: 1, closingParts: 1)
        return store
    }

    private func expect(_ store: PageStore, _ id: ObjectID, holds heap: Heap, line: Int = #line) throws {
        let view = try store.head(of: id)
        for page in 0..<heap.count / Page.size {
            let word = (heap.base + page * Page.size).load(as: UInt64.self)
            guard try firstWord(view, page) == word else { throw Mismatch("page \(page), line \(line)") }
        }
    }

    private func row(_ store: PageStore, _ id: ObjectID) throws -> CheckpointRow? {
        try store.lmdb.read { (t) throws(StoreError) in try t.row(.checkpoints, CheckpointRow.key(id), CheckpointRow.self) }
    }

    @Test func whatIsOpenedWithACheckpointIsWhatIsOpenedWithout() throws {
        var (store, id, heap) = try make()
        let fresh = try store.head(of: id).extents(in: PageRange(start: 0, count: Self.pages + 10), joiningBelow: 16).map { "\($0)" }
        store = try reopen(store)
        #expect(try row(store, id)?.chunks.count == 3)
        let view = try store.head(of: id)
        #expect(view.table.withLock { $0.unread.count } == 3)
        #expect(view.extents(in: PageRange(start: 0, count: Self.pages + 10), joiningBelow: 16).map { "\($0)" } == fresh)
        #expect(view.table.withLock { $0.unread.count } == 3, "laying out a mapping reads no chunk")
        #expect(try firstWord(view, Self.chunk) == UInt64(Self.chunk))
        #expect(view.table.withLock { $0.unread.count } == 2)
        try expect(store, id, holds: heap)
        #expect(try checkCheckpoints(store) == 1)
        try store.close()
    }

    @Test func laterLayersLieOverTheCheckpoint() throws {
        var (store, id, heap) = try make()
        store.checkpointPolicy = CheckpointPolicy(settledParts: 1000, closingParts: 1000)
        for page in [3, Self.chunk + 1, 3 * Self.chunk + 5] { heap.fill(page, 77) }
        _ = try store.commit([heap.layer(id, [3, Self.chunk + 1])])
        try store.settle()
        _ = try store.commit([heap.layer(id, [3 * Self.chunk + 5])])
        store = try reopen(store, closed: false)
        #expect(try store.head(of: id).table.withLock { $0.unread.count } == 3, "no chunk is read for what lies over it")
        try expect(store, id, holds: heap)
        #expect(try checkCheckpoints(store) == 1)
        try store.close()
    }

    private func extents(_ view: ObjectView) -> [ObjectView.Extent] {
        view.extents(in: PageRange(start: 0, count: view.pageCount), joiningBelow: 16).flatMap { run in
            (0..<run.pages.count).map { page in
                if case .file(let offset) = run.extent { return .file(offset: offset + page * Page.size) }
                return run.extent
            }
        }
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>) func whatLiesOverUnreadChunksIsAsIfTheyWereRead(seed: UInt64) throws {
        var (store, id, heap) = try make()
        store.checkpointPolicy = CheckpointPolicy(settledParts: 1000, closingParts: 1000)
        var random = SeededGenerator(seed: seed)
        for round in 0..<8 {
            let count = [1, 5, 60, 400].randomElement(using: &random)!
            var pages = Set((0..<count).map { _ in Int.random(in: 0..<Self.pages, using: &random) })
            let first = Int.random(in: 0..<Self.pages - 100, using: &random)
            if round % 3 == 0 { pages.formUnion(first..<first + 100) }
            for page in pages { round % 4 == 3 ? heap.clear(page) : heap.fill(page, UInt64.random(in: 0...3, using: &random)) }
            _ = try store.commit([heap.layer(id, pages.sorted())])
            if round < 4 { try store.settle() }
        }
        store = try reopen(store, closed: false)
        let view = try store.head(of: id)
        let unread = extents(view)
        view.table.readAll()
        for (page, (before, after)) in zip(unread, extents(view)).enumerated() where before != .journal {
            guard before == after else { throw Mismatch("page \(page): \(before), once it is read \(after)") }
        }
        try expect(store, id, holds: heap)
        #expect(try checkCheckpoints(store) == 1)
        try store.close()
    }

    @Test func whatLiesOverADamagedChunkStays() throws {
        var (store, id, heap) = try make()
        let place = try store.lmdb.read { (t) throws(StoreError) in
            try t.filePage(of: try t.get(.checkpoints, CheckpointRow.key(id, chunk: 1))!) * Page.size
        }
        for page in [3, Self.chunk + 7, Self.chunk + 900] { heap.fill(page, 99) }
        _ = try store.commit([heap.layer(id, [3, Self.chunk + 7, Self.chunk + 900])])
        store.abandon()
        let file = try File(folder.path + "/" + StoreFile.pages, O_RDWR)
        let byte = AlignedBuffer(capacity: Page.size)
        try file.read(into: byte[0..<1], at: place + Page.size + 20)
        byte.base.storeBytes(of: byte.base.load(as: UInt8.self) ^ 1, as: UInt8.self)
        try file.write(UnsafeRawBufferPointer(byte[0..<1]), at: place + Page.size + 20)
        store = try PageStore.open(folder.path)
        #expect(try store.head(of: id).table.withLock { $0.unread.count } == 3)
        try expect(store, id, holds: heap)
        try store.close()
    }

    @Test func aShrinkTakesAlongWhatLiesOverUnreadChunks() throws {
        var (store, id, heap) = try make()
        for page in [5, Self.chunk + 10, Self.chunk + 30, 2 * Self.chunk + 9] { heap.fill(page, 44) }
        _ = try store.commit([heap.layer(id, [5, Self.chunk + 10, Self.chunk + 30, 2 * Self.chunk + 9])])
        var layer = LayerInput(object: id, size: UInt64((Self.chunk + 20) * Page.size), runs: [], origin: UnsafeRawPointer(heap.base))
        layer.floorPage = UInt32(Self.chunk + 20)
        _ = try store.commit([layer], operations: [.resizeObject(id: id, size: layer.size)])
        _ = try store.commit([], operations: [.resizeObject(id: id, size: UInt64(heap.count))])
        for page in Self.chunk + 20..<Self.pages { heap.clear(page) }
        heap.fill(2 * Self.chunk, 6)
        _ = try store.commit([heap.layer(id, [2 * Self.chunk])])
        store = try reopen(store, closed: false)
        try expect(store, id, holds: heap)
        try store.close()
    }

    @Test func onlyChunksThatChangedAreWritten() throws {
        let (store, id, heap) = try make()
        let before = try #require(try row(store, id))
        heap.fill(Self.chunk + 3, 5)
        _ = try store.commit([heap.layer(id, [Self.chunk + 3])])
        try store.settle()
        try store.checkpointWhereWorthwhile()
        let after = try #require(try row(store, id))
        #expect(after.through > before.through)
        #expect(zip(before.chunks, after.chunks).map { $0 == $1 } == [true, false, true])
        try expect(store, id, holds: heap)
        try store.close()
    }

    @Test func anObjectThatShrinksTakesItsChunksAlong() throws {
        var (store, id, heap) = try make()
        var layer = LayerInput(object: id, size: UInt64(Self.chunk * Page.size), runs: [], origin: UnsafeRawPointer(heap.base))
        layer.floorPage = UInt32(Self.chunk)
        _ = try store.commit([layer], operations: [.resizeObject(id: id, size: layer.size)])
        try store.settle()
        try store.checkpointWhereWorthwhile()
        #expect(try row(store, id)?.chunks.map(\.index) == [0])
        #expect(try store.lmdb.read { (t) throws(StoreError) in try t.count(.checkpoints) } == 2)
        store = try reopen(store)
        #expect(try store.head(of: id).pageCount == Self.chunk)
        #expect(try checkCheckpoints(store) == 1)
        try store.close()
    }

    @Test func aMergeCorrectsTheCheckpoint() throws {
        var (store, id, heap) = try make()
        for round in 0..<6 {
            let pages = Array(stride(from: Self.chunk - 20 + round, to: Self.chunk + 20, by: 2))
            for page in pages { heap.fill(page, UInt64(1000 * round + page)) }
            _ = try store.commit([heap.layer(id, pages)])
            try store.settle()
        }
        _ = try store.commit([], operations: [.setRetention(Retention(versions: 1, seconds: 0))])
        try store.settle()
        try store.checkpointWhereWorthwhile()
        let report = try store.reclaim()
        #expect(report.layersMerged > 0)
        #expect(try checkCheckpoints(store) == 1)
        store = try reopen(store, closed: false)
        #expect(try checkCheckpoints(store) == 1)
        try expect(store, id, holds: heap)
        // What is merged is buried; nothing may lead there.
        _ = try store.reclaim()
        try expect(store, id, holds: heap)
        try store.close()
    }

    @Test func anOpenHeadOutlivesItsCheckpoint() throws {
        var (store, id, heap) = try make()
        store = try reopen(store)
        let view = try store.head(of: id)
        for round in 0..<30 {
            heap.fill(2 * Self.chunk + 1, UInt64(round))
            _ = try store.commit([heap.layer(id, [2 * Self.chunk + 1])])
            try store.settle()
            try store.checkpointWhereWorthwhile()
            if round % 7 == 0 { _ = try store.reclaim() }
        }
        for page in 0..<Self.pages {
            #expect(try firstWord(view, page) == (heap.base + page * Page.size).load(as: UInt64.self))
        }
        try store.close()
    }

    @Test func aHeadThatWasRolledBackKeepsItsBytes() throws {
        var (store, id, heap) = try make()
        let before = store.lastVersion
        heap.fill(5, 5)
        _ = try store.commit([heap.layer(id, [5])])
        store = try reopen(store)
        let old = try store.head(of: id)
        _ = try store.commit([], operations: [.lineage(object: id, source: id, sourceVersion: before, size: UInt64(heap.count))])
        #expect(try firstWord(old, 5) == 5)
        #expect(try firstWord(try store.head(of: id), 5) == 0)
        try store.settle()
        try store.checkpointWhereWorthwhile()
        #expect(try checkCheckpoints(store) == 1)
        #expect(try firstWord(old, 5) == 5)
        store = try reopen(store)
        #expect(try checkCheckpoints(store) == 1)
        #expect(try firstWord(try store.head(of: id), 5) == 0)
        #expect(try firstWord(try store.head(of: id), Self.chunk) == UInt64(Self.chunk))
        try store.close()
    }

    @Test func aFreshCloneUsesItsSourcesCheckpoint() throws {
        let (store, id, heap) = try make()
        let clone = ObjectID(store.newID())
        let size = UInt64(heap.count)
        _ = try store.commit([], operations: [
            .createObject(id: clone, name: "", size: size, residency: .shared),
            .lineage(object: clone, source: id, sourceVersion: store.lastVersion, size: size),
        ])
        #expect(try store.head(of: clone).table.withLock { $0.unread.count } == 3)
        try expect(store, clone, holds: heap)
        try store.settle()
        try store.checkpointWhereWorthwhile()
        _ = try store.reclaim()
        #expect(try checkCheckpoints(store) >= 1)
        try store.close()
    }

    @Test func everyFlippedByteOfACheckpointIsWithoutEffect() throws {
        var (store, id, heap) = try make()
        let known = try #require(try row(store, id))
        var places: [Int] = []
        try store.lmdb.read { (t) throws(StoreError) in
            for chunk in known.chunks {
                let value = try t.get(.checkpoints, CheckpointRow.key(id, chunk: chunk.index))!
                places.append(try t.filePage(of: value) * Page.size + 16)
                #expect(t.mappedPage(of: value) == (try t.filePage(of: value)))
            }
        }
        store.abandon()
        let file = try File(folder.path + "/" + StoreFile.pages, O_RDWR)
        let byte = AlignedBuffer(capacity: Page.size)
        var generator = SeededGenerator(seed: 5)
        let rounds = Budget.of(quick: 30, default: 100, full: 1000)
        for round in 0..<rounds {
            // Half of them in heads.
            let within = round % 2 == 0 ? CheckpointChunk.headSize : CheckpointChunk.valueSize
            let offset = places.randomElement(using: &generator)! + Int.random(in: 0..<within, using: &generator)
            func flip() throws {
                try file.read(into: byte[0..<1], at: offset)
                byte.base.storeBytes(of: byte.base.load(as: UInt8.self) ^ 0x10, as: UInt8.self)
                try file.write(UnsafeRawBufferPointer(byte[0..<1]), at: offset)
            }
            try flip()
            store = try PageStore.open(folder.path)
            try expect(store, id, holds: heap)
            var findings: [Finding] = []
            try store.verify { findings.append($0) }
            #expect(findings.count == 1 && findings[0].severity == .warning, "byte \(offset): \(findings)")
            store.abandon()
            try flip()
        }
    }

    @Test func aDamagedRowIsIgnored() throws {
        var (store, id, heap) = try make()
        try store.lmdb.write { (t) throws(StoreError) in
            var bytes = [UInt8](try t.get(.checkpoints, CheckpointRow.key(id))!)
            bytes[3] ^= 1
            try t.put(.checkpoints, CheckpointRow.key(id), bytes)
        }
        store = try reopen(store, closed: false)
        #expect(try checkCheckpoints(store) == 0)
        try expect(store, id, holds: heap)
        // The next one replaces it.
        heap.fill(0, 1)
        _ = try store.commit([heap.layer(id, [0])])
        try store.settle()
        try store.checkpointWhereWorthwhile()
        #expect(try checkCheckpoints(store) == 1)
        try store.close()
    }

    @Test func aCheckpointThatIsWrongIsFoundByVerify() throws {
        let (store, id, _) = try make()
        try store.lmdb.write { (t) throws(StoreError) in
            var row = try t.row(.checkpoints, CheckpointRow.key(id), CheckpointRow.self)!
            let slots = UnsafeMutablePointer<PageTable.Slot>.allocate(capacity: CheckpointChunk.pages)
            defer { slots.deallocate() }
            slots.initialize(repeating: .zeros, count: CheckpointChunk.pages)
            let value = try t.reserve(.checkpoints, CheckpointRow.key(id, chunk: 1), count: CheckpointChunk.valueSize)
            row.chunks[1].sum = CheckpointChunk.encode(
                slots, object: id, index: 1, filePage: try t.filePage(of: UnsafeRawBufferPointer(value)), to: value.baseAddress!)
            try t.put(.checkpoints, CheckpointRow.key(id), row: row)
        }
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        #expect(findings.contains { $0.severity == .damage && $0.object == id })
        store.abandon()
    }

    @Test func aBackupHasNoCheckpoint() throws {
        let (store, id, heap) = try make()
        let copy = TemporaryFolder()
        try store.backup(to: copy.path)
        try store.close()
        let restored = try PageStore.open(copy.path)
        #expect(try row(restored, id) == nil)
        try expect(restored, id, holds: heap)
        try restored.close()
    }

    @Test func aDeletedObjectLeavesNoCheckpoint() throws {
        let (store, id, _) = try make()
        _ = try store.commit([], operations: [.deleteObject(id: id)])
        _ = try store.commit([], operations: [.setRetention(Retention(versions: 0, seconds: 0))])
        try store.settle()
        _ = try store.reclaim()
        _ = try store.reclaim()
        #expect(try store.lmdb.read { (t) throws(StoreError) in try t.count(.checkpoints) } == 0)
        try store.close()
    }

    /// Every call that fails while a checkpoint is written leaves the store as it was, and settling and closing succeed.
    @Test func aCheckpointThatCannotBeWrittenHarmsNothing() throws {
        var (store, id, heap) = try make()
        for call in 1...40 {
            heap.fill(call, UInt64(call))
            _ = try store.commit([heap.layer(id, [call])])
            try store.settle()
            Failpoint.fail(call: call, with: ENOSPC)
            try? store.checkpointWhereWorthwhile()
            Failpoint.fail(call: 0, with: 0)
            try checkCheckpoints(store)
            if call % 10 == 0 {
                store = try reopen(store)
                #expect(store.recovery.wasClean)
            }
        }
        try expect(store, id, holds: heap)
        try store.close()
    }
}
