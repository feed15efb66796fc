import Foundation
import TestSupport
import Testing
import VMTypes

@testable import PageStore

/// Commits that change a few lines of a page, from the commit to the settled page and what damage does to them.
@Suite struct PatchTests {
    private let folder = TemporaryFolder("patch", inMemory: true)

    private func make(_ pages: Int, ring: Int = 8 << 20) throws -> (store: PageStore, object: ObjectID, heap: Heap) {
        _ = try PageStore.create(in: folder.path, options: .init(ringBytes: ring))
        let store = try PageStore.open(folder.path)
        let object = ObjectID(store.newID())
        let heap = Heap(pages: pages)
        for page in 0..<pages { heap.fill(page, UInt64(page + 1) << 32) }
        let create = StoreOperation.createObject(id: object, name: "a", size: UInt64(heap.count), residency: .exclusive)
        _ = try store.commit([heap.layer(object, Array(0..<pages))], operations: [create])
        // Patches are found against the head's page table.
        _ = try store.head(of: object)
        return (store, object, heap)
    }

    /// Stores to one line of a page.
    private func change(_ heap: Heap, _ page: Int, line: Int, _ value: UInt64) {
        (heap.base + page * Page.size + line * 64 + 8).storeBytes(of: value, as: UInt64.self)
    }

    private func entries(_ store: PageStore) -> [PageEntry] { store.state.withLock { $0.young.last?.layers.first?.entries ?? [] } }

    private func expect(_ store: PageStore, _ object: ObjectID, holds heap: Heap, _ what: String) throws {
        let bytes = AlignedBuffer(capacity: heap.count)
        try store.head(of: object).read(PageRange(start: 0, count: heap.count >> Page.shift), into: bytes.base)
        #expect(memcmp(bytes.base, heap.base, heap.count) == 0, "\(what)")
    }

    private func reopened(_ store: PageStore) throws -> PageStore {
        store.abandon()
        return try PageStore.open(folder.path)
    }

    @Test func fewChangedBytesMakeAShortRecordAndSurviveEverything() throws {
        var (store, object, heap) = try make(100)
        for page in 0..<100 { change(heap, page, line: page % 64, 7) }
        _ = try store.commit([heap.layer(object, Array(0..<100))])
        let length = store.state.withLock { Int($0.young.last!.header.length) }
        #expect(length <= Page.count(forBytes: 128 + 40 + 100 * (20 + 64)) * Page.size)
        #expect(entries(store).map(\.mask) == (0..<100).map { 1 << UInt64($0 % 64) })
        try expect(store, object, holds: heap, "from memory")
        store = try reopened(store)
        try expect(store, object, holds: heap, "from the ring")
        for page in stride(from: 0, to: 100, by: 3) { change(heap, page, line: 5, 8) }
        _ = try store.commit([heap.layer(object, Array(0..<100))])
        try expect(store, object, holds: heap, "over what recovery found")
        store = try reopened(store)
        try store.settle()
        try expect(store, object, holds: heap, "settled by a store that has read nothing")
        change(heap, 50, line: 9, 10)
        _ = try store.commit([heap.layer(object, [50])])
        #expect(entries(store).map(\.mask) == [1 << 9])
        _ = try store.reclaim()
        try expect(store, object, holds: heap, "over a page that was merged")
        try store.close()
        store = try PageStore.open(folder.path)
        try expect(store, object, holds: heap, "closed and opened")
        try store.close()
    }

    @Test func pagesAreComparedLineByLine() throws {
        let (store, object, heap) = try make(8)
        let version = store.lastVersion
        let same = try store.commit([heap.layer(object, Array(0..<8))])
        #expect(same == version, "nothing has changed")
        for line in 0..<32 { change(heap, 1, line: line, 1) }
        for line in 0..<33 { change(heap, 2, line: line, 1) }
        heap.clear(3)
        _ = try store.commit([heap.layer(object, Array(0..<8))])
        #expect(entries(store).map(\.page) == [1, 2, 3])
        #expect(entries(store).map(\.mask) == [1 << 32 - 1, PageEntry.wholePage, PageEntry.zeros])
        change(heap, 3, line: 63, 4)
        _ = try store.commit([heap.layer(object, [3])])
        #expect(entries(store).map(\.mask) == [1 << 63], "zeros are a base too")
        try expect(store, object, holds: heap, "memory")
        try store.settle()
        try expect(store, object, holds: heap, "settled")
        try store.close()
    }

    @Test func aChainEndsInAWholePage() throws {
        var (store, object, heap) = try make(1)
        var depth = 0
        for round in 0..<60 {
            change(heap, 0, line: round * 7 % 64, UInt64(round + 1))
            _ = try store.commit([heap.layer(object, [0])], durability: .deferred)
            depth = entries(store)[0].isPatch ? depth + 1 : 0
            #expect(depth <= 16)
            if round % 20 == 10 { try expect(store, object, holds: heap, "round \(round)") }
        }
        store = try reopened(store)
        try expect(store, object, holds: heap, "from the ring")
        try store.settle()
        try expect(store, object, holds: heap, "settled")
        try store.close()
    }

    @Test func patchesThatAddUpToAPageAreWrittenWhole() throws {
        let (store, object, heap) = try make(1)
        var lines = 0
        for round in 0..<12 {
            for line in 0..<20 { change(heap, 0, line: line * 3, UInt64(100 * round + line + 1)) }
            _ = try store.commit([heap.layer(object, [0])])
            lines = entries(store)[0].isPatch ? lines + 20 : 0
            #expect(lines <= 64)
        }
        try expect(store, object, holds: heap, "memory")
        try store.close()
    }

    @Test func pagesThatChangeAllOverAreSeldomCompared() throws {
        let (store, object, heap) = try make(64)
        let table = try store.headTable(object)
        for page in 0..<64 { heap.fill(page, UInt64(page) << 20) }
        _ = try store.commit([heap.layer(object, Array(0..<64))])
        #expect(table.wholeStreak == 64)
        #expect(entries(store).map(\.isWhole) == Array(repeating: true, count: 64))
        for page in 0..<64 { change(heap, page, line: 1, 5) }
        _ = try store.commit([heap.layer(object, Array(0..<64))])
        let patches = entries(store).map(\.isPatch).reduce(0) { $0 + ($1 ? 1 : 0) }
        #expect(patches >= 64 - CommittedPages.streak)
        try expect(store, object, holds: heap, "memory")
        try store.close()
    }

    @Test func viewsSnapshotsAndClonesKeepWhatPatchesLieOver() throws {
        var (store, object, heap) = try make(4)
        try store.settle()
        var kept: [(version: Version, page: [UInt8])] = []
        for round in 0..<6 {
            change(heap, 0, line: round, 9)
            let operation = StoreOperation.createSnapshot(name: "s\(round)", version: .infinity, object: nil, message: "")
            let version = try store.commit([heap.layer(object, [0])], operations: [operation])
            kept.append((version, Array(UnsafeRawBufferPointer(start: heap.base, count: Page.size))))
        }
        let clone = ObjectID(store.newID())
        _ = try store.commit(
            [],
            operations: [
                .createObject(id: clone, name: "b", size: UInt64(heap.count), residency: .exclusive),
                .lineage(object: clone, source: object, sourceVersion: kept[2].version, size: UInt64(heap.count)),
            ])
        let other = Heap(pages: 4)
        try store.head(of: clone).read(PageRange(start: 0, count: 4), into: other.base)
        change(other, 0, line: 40, 41)
        _ = try store.commit([other.layer(clone, [0])])
        #expect(entries(store).map(\.mask) == [1 << 40])
        func check(_ what: String) throws {
            let bytes = AlignedBuffer(capacity: Page.size)
            for (version, page) in kept {
                try store.view(of: object, at: version).read(PageRange(start: 0, count: 1), into: bytes.base)
                #expect(memcmp(bytes.base, page, Page.size) == 0, "\(what): version \(version)")
            }
            try expect(store, clone, holds: other, "\(what): the clone")
        }
        try check("young")
        try store.settleOnce()
        try check("settled in part")
        store = try reopened(store)
        try check("recovered")
        _ = try store.reclaim()
        try check("reclaimed")
        try store.settle()
        try check("settled")
        try store.close()
    }

    // MARK: Damage

    /// Changes a byte of a settled page in the page store's file.
    private func spoil(_ store: PageStore, _ object: ObjectID, page: Int, at offset: Int) throws {
        let file = try #require(try store.headTable(object)[page].place.filePage)
        try spoil(StoreFile.pages, at: file * Page.size + offset)
    }

    private func spoil(_ name: String, at offset: Int) throws {
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: folder.path + "/" + name))
        try file.seek(toOffset: UInt64(offset))
        let byte = try #require(try file.read(upToCount: 1)?.first)
        try file.seek(toOffset: UInt64(offset))
        try file.write(contentsOf: [byte ^ 0x55])
        try file.close()
    }

    private func expectDamage(_ store: PageStore, _ object: ObjectID, page: Int, _ what: String) throws {
        let bytes = AlignedBuffer(capacity: Page.size)
        let head = try store.head(of: object)
        #expect("\(what): the page is lost and named") { try head.read(PageRange(start: page, count: 1), into: bytes.base) } throws: {
            ($0 as? StoreError)?.code == .damaged && ($0 as? StoreError)?.message.contains("page \(page)") == true
        }
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        #expect(findings.contains { $0.severity == .damage && $0.pages == PageRange(start: page, count: 1) }, "\(what): \(findings)")
    }

    @Test func aDamagedPageUnderAPatchIsLostAndNamed() throws {
        var (store, object, heap) = try make(4)
        try store.settle()
        change(heap, 1, line: 3, 4)
        change(heap, 2, line: 3, 4)
        _ = try store.commit([heap.layer(object, [1, 2])])
        #expect(entries(store).map(\.isPatch) == [true, true])
        let settled = try store.view(of: object, at: store.settledVersion)
        let file = try #require(settled.table[1].place.filePage)
        try spoil(StoreFile.pages, at: file * Page.size + 2000)
        try expectDamage(store, object, page: 1, "young")
        store = try reopened(store)
        try expectDamage(store, object, page: 1, "recovered")
        // The journal goes on, and the page stays lost.
        try store.settle()
        try expectDamage(store, object, page: 1, "settled")
        let bytes = AlignedBuffer(capacity: Page.size)
        try store.head(of: object).read(PageRange(start: 2, count: 1), into: bytes.base)
        #expect(memcmp(bytes.base, heap.base + 2 * Page.size, Page.size) == 0)
        // Whoever stores the page again heals it.
        _ = try store.commit([heap.layer(object, [1])])
        try expect(store, object, holds: heap, "written again")
        try store.close()
    }

    @Test func whoseLayersAreDamagedKeepsNobodyElseFromSettling() throws {
        var (store, object, heap) = try make(4)
        let other = ObjectID(store.newID())
        let otherHeap = Heap(pages: 4)
        for page in 0..<4 { otherHeap.fill(page, UInt64(page + 9) << 24) }
        let create = StoreOperation.createObject(id: other, name: "b", size: UInt64(otherHeap.count), residency: .exclusive)
        _ = try store.commit([otherHeap.layer(other, Array(0..<4))], operations: [create])
        _ = try store.head(of: other)
        try store.settle()
        // The header of the layer that both patches lie over.
        let first = try #require(try store.view(of: object, at: store.settledVersion).table[0].place.filePage)
        change(heap, 1, line: 3, 4)
        _ = try store.commit([heap.layer(object, [1])])
        change(otherHeap, 2, line: 3, 4)
        _ = try store.commit([otherHeap.layer(other, [2])])
        store.abandon()
        try spoil(StoreFile.pages, at: (first - 1) * Page.size + 24)
        store = try PageStore.open(folder.path)
        #expect(throws: StoreError.self) { try store.head(of: object) }
        try store.settle()
        #expect(store.settledVersion == store.lastVersion)
        try expect(store, other, holds: otherHeap, "another object's pages")
        change(otherHeap, 3, line: 1, 2)
        _ = try store.commit([otherHeap.layer(other, [3])])
        try store.settle()
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        #expect(findings.contains { $0.severity == .damage && $0.object == object })
        #expect(!findings.contains { $0.object == other })
        try store.close()
        store = try PageStore.open(folder.path)
        try expect(store, other, holds: otherHeap, "opened again")
        try store.close()
    }

    #if DEBUG
        @Test func aReadThatFailsOnceLosesNoPage() throws {
            var (store, object, heap) = try make(40)
            try store.settle()
            defer { Failpoint.fail(call: 0, with: EIO) }
            for call in 1...60 {
                change(heap, call % 40, line: call % 64, UInt64(call))
                _ = try store.commit([heap.layer(object, [call % 40])])
                // What recovery found is linked, and read, by settling.
                store = try reopened(store)
                Failpoint.fail(call: call, with: EIO)
                try? store.settle()
                Failpoint.fail(call: 0, with: EIO)
                store = try reopened(store)
                try store.settle()
                try expect(store, object, holds: heap, "call \(call)")
                _ = try store.head(of: object)
            }
            try store.close()
        }
    #endif

    @Test func nothingIsDerivedFromADamagedPage() throws {
        let (store, object, heap) = try make(4)
        try store.settle()
        try spoil(store, object, page: 1, at: 2000)
        change(heap, 1, line: 3, 4)
        _ = try store.commit([heap.layer(object, [1])])
        #expect(entries(store).map(\.mask) == [PageEntry.wholePage])
        try expect(store, object, holds: heap, "written whole")
        try store.close()
    }

    /// Where the lines of the last record lie in the journal's file.
    private func linesOfLastRecord(_ store: PageStore) -> Int {
        let header = store.state.withLock { $0.young.last!.header }
        return Journal.superblockSize + Int(header.position) + Int(header.prologueBytes)
    }

    @Test func damagedLinesOfAFlushedRecordLoseThePage() throws {
        var (store, object, heap) = try make(4)
        change(heap, 1, line: 3, 4)
        _ = try store.commit([heap.layer(object, [1])])
        let lines = linesOfLastRecord(store)
        // The next record proves that this one was flushed.
        change(heap, 2, line: 3, 4)
        _ = try store.commit([heap.layer(object, [2])])
        store.abandon()
        try spoil(StoreFile.journal, at: lines + 5)
        store = try PageStore.open(folder.path)
        try expectDamage(store, object, page: 1, "damaged in the ring")
        store.abandon()
    }

    @Test func damagedLinesOfTheLastRecordCutItOff() throws {
        var (store, object, heap) = try make(4)
        let version = store.lastVersion
        let before = AlignedBuffer(capacity: heap.count)
        memcpy(before.base, heap.base, heap.count)
        change(heap, 1, line: 3, 4)
        _ = try store.commit([heap.layer(object, [1])])
        let lines = linesOfLastRecord(store)
        store.abandon()
        try spoil(StoreFile.journal, at: lines + 5)
        store = try PageStore.open(folder.path)
        #expect(store.lastVersion == version)
        memcpy(heap.base, before.base, heap.count)
        try expect(store, object, holds: heap, "the state before")
        try store.close()
    }

    @Test func repairKeepsWhatPatchesMake() throws {
        let (store, object, heap) = try make(4)
        try store.settle()
        for page in 0..<4 { change(heap, page, line: 9, 9) }
        _ = try store.commit([heap.layer(object, Array(0..<4))])
        let file = try #require(try store.view(of: object, at: store.settledVersion).table[2].place.filePage)
        store.abandon()
        try spoil(StoreFile.pages, at: file * Page.size + 2000)
        let copy = TemporaryFolder("repaired", inMemory: true)
        let report = try PageStore.repair(folder.path, into: copy.path)
        #expect(report.lost.map(\.pages) == [PageRange(start: 2, count: 1)])
        let repaired = try PageStore.open(copy.path)
        heap.clear(2)
        try expect(repaired, object, holds: heap, "repaired")
        try repaired.close()
    }

    /// Format 1 had no patches, and its numbers elsewhere.
    @Test func aStoreOfFormat1IsRecoveredAndWrittenOn() throws {
        var (store, object, heap) = try make(4)
        store.abandon()
        let journal = try File(folder.path + "/" + StoreFile.journal, O_RDWR)
        let block = AlignedBuffer(capacity: Page.size)
        try journal.read(into: block[0..<Page.size], at: Journal.superblockSize)
        var header = try #require(JournalHeader(from: block.base))
        header.format = 1
        header.encode(to: block.base)
        header.checksum = Checksum.of(UnsafeRawPointer(block.base) + 16, count: Int(header.prologueBytes) - 16)
        header.encode(to: block.base)
        try journal.write(UnsafeRawBufferPointer(block[0..<Page.size]), at: Journal.superblockSize)
        do {
            let lmdb = try LMDB(path: folder.path + "/" + StoreFile.pages, readOnly: false)
            defer { lmdb.close() }
            var meta = try PageStore.readMeta(lmdb)
            meta.format = 1
            try lmdb.write { (t) throws(StoreError) in try t.put(.meta, StoreMeta.key, row: meta) }
        }
        store = try PageStore.open(folder.path)
        try expect(store, object, holds: heap, "recovered")
        #expect(try PageStore.readMeta(store.lmdb).format == 1, "reading changes nothing")
        change(heap, 0, line: 0, 1)
        _ = try store.commit([heap.layer(object, [0])])
        // Before a record that an older program would take for none.
        #expect(try PageStore.readMeta(store.lmdb).format == 2)
        store = try reopened(store)
        try expect(store, object, holds: heap, "written on")
        try store.close()
    }
}
