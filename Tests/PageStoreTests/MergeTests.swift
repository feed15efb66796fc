import Glibc
@testable import PageStore
import TestSupport
import Testing
import VMTypes

/// What merging in the background takes and leaves.
@Suite struct MergeTests {
    let folder = TemporaryFolder("merge", inMemory: true)

    /// A store in which nothing is settled, nor merged, but when a test says so.
    private func make(pages: Int, retained: UInt32, ring: Int = 16 << 20) throws -> (PageStore, ObjectID, Heap) {
        _ = try PageStore.create(in: folder.path, options: .init(ringBytes: ring))
        let store = try PageStore.open(folder.path)
        let id = ObjectID(store.newID())
        let heap = Heap(pages: pages)
        _ = try store.commit(
            [],
            operations: [
                .createObject(id: id, name: "", size: UInt64(heap.count), residency: .shared),
                .setRetention(Retention(versions: retained, seconds: 0)),
            ])
        try store.settle()
        return (store, id, heap)
    }

    private func write(_ store: PageStore, _ id: ObjectID, _ heap: Heap, _ pages: some Sequence<Int>, _ value: UInt64) throws {
        for page in pages { heap.fill(page, value &+ UInt64(page) << 32) }
        _ = try store.commit([heap.layer(id, Array(pages))])
    }

    /// The object's layers that have pages: the first one tells its size alone.
    private func rows(_ store: PageStore, _ id: ObjectID) throws -> [VersionRow] {
        let mine = try store.exclusively { () throws(StoreError) in try store.liveness(of: id) }[id]
        return mine?.rows.map(\.row).filter { $0.pageCount > 0 } ?? []
    }

    private func expectHead(_ store: PageStore, _ id: ObjectID, holds heap: Heap) throws {
        let head = try store.head(of: id)
        for page in 0..<heap.count / Page.size {
            #expect(try firstWord(head, page) == (heap.base + page * Page.size).load(as: UInt64.self))
        }
    }

    @Test func onlyTheEmptiestLayersAreWrittenAgain() throws {
        let (store, id, heap) = try make(pages: 300, retained: 1)
        store.mergePolicy = MergePolicy(most: 1, least: 1, deadShare: 0.5, settledPages: 1)
        var versions: [Version] = []
        for start in [0, 100, 200, 0] {
            // The second time all but ten.
            try write(store, id, heap, start..<start + (try rows(store, id).count == 3 ? 90 : 100), UInt64(start + 1))
            try store.settle()
            versions.append(store.lastVersion)
        }
        let before = try rows(store, id)
        #expect(before.map(\.pageCount) == [100, 100, 100, 90])
        try write(store, id, heap, [250], 9)
        try store.settle()
        try store.mergeWhereWorthwhile()
        let after = try rows(store, id)
        #expect(after.map(\.pageCount) == [10, 100, 100, 90, 1])
        #expect(after[1...3].map(\.record) == before[1...3].map(\.record))
        // States between the merged layer and the one that it is dead for are gone, and only these.
        for version in versions[0...2] {
            #expect { try store.view(of: id, at: version) } throws: { ($0 as? StoreError)?.code == .notRetained }
        }
        let last = try store.view(of: id, at: versions[3])
        #expect(try firstWord(last, 250) == 201 &+ 250 << 32)
        try expectHead(store, id, holds: heap)
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        #expect(findings.isEmpty)
        try store.close()
    }

    @Test func layersOfTheJournalAreAmongTheRetained() throws {
        let (store, id, heap) = try make(pages: 10, retained: 4)
        for round in 0..<6 {
            try write(store, id, heap, [0], UInt64(round))
            try store.settle()
        }
        func groups() throws -> [Int] {
            try store.exclusively { () throws(StoreError) in try store.liveness(of: id) }[id]?.liveGroups.map(\.count) ?? []
        }
        #expect(try groups() == [4, 1, 1, 1])
        try write(store, id, heap, [0], 10)
        try write(store, id, heap, [0], 11)
        #expect(try groups() == [6, 1])
        for round in 0..<4 { try write(store, id, heap, [0], UInt64(20 + round)) }
        #expect(try groups() == [7])
        // The newest four versions are whole, wherever they are.
        let last = store.lastVersion
        _ = try store.reclaim()
        for (back, value) in [23, 22, 21, 20].enumerated() {
            #expect(try firstWord(try store.view(of: id, at: Version(last.rawValue - UInt64(back))), 0) == UInt64(value))
        }
        try store.close()
    }

    /// A reader of another process, and what its lease says of it.
    private func reader(_ store: PageStore) throws -> LeaseFile.Lease {
        try store.leases.acquire(
            object: nil, version: store.settledVersion, epoch: store.state.withLock { $0.epoch }, horizon: .max)
    }

    @Test(arguments: [false, true])
    func randomWritesTakeBoundedSpace(isRead: Bool) throws {
        let pages = 2048
        let (store, id, heap) = try make(pages: pages, retained: 1, ring: 1 << 20)
        store.mergePolicy = MergePolicy(settledPages: 64)
        try write(store, id, heap, 0..<pages, 1)
        try store.settle()
        let lease = isRead ? try reader(store) : nil
        let read = store.settledVersion
        var generator = SeededGenerator(seed: 3)
        var most = 0.0
        for round in 0..<10 * pages / 64 {
            var chosen: Set<Int> = []
            while chosen.count < 64 { chosen.insert(Int.random(in: 0..<pages, using: &generator)) }
            try write(store, id, heap, chosen.sorted(), UInt64(2 + round))
            guard round % 2 == 1 else { continue }
            try store.settle()
            try store.mergeWhereWorthwhile()
            let usage = try store.lmdb.usage()
            most = max(most, Double(usage.used - usage.free) / Double(heap.count))
        }
        // A reader costs the one state that it keeps, whatever was written since. A file so small has trees and lists beside the
        // pages.
        #expect(most < (isRead ? 3.5 : 2.5))
        try expectHead(store, id, holds: heap)
        if isRead {
            let view = try store.view(of: id, at: read)
            for page in 0..<pages { #expect(try firstWord(view, page) == 1 &+ UInt64(page) << 32) }
        }
        withExtendedLifetime(lease) {}
        try store.close()
    }

    @Test func whatIsKnownOfLayersStaysTrueThroughMerges() throws {
        let pages = 600
        let (store, id, heap) = try make(pages: pages, retained: 1)
        store.mergePolicy = MergePolicy(most: 1.4, least: 1.2, deadShare: 0.2, settledPages: 1)
        var generator = SeededGenerator(seed: 5)
        for round in 0..<60 {
            let start = Int.random(in: 0..<pages - 60, using: &generator)
            try write(store, id, heap, start..<start + Int.random(in: 1...60, using: &generator), UInt64(round))
            try store.settle()
            // Somebody who looks in between divides what was one group, for a while.
            let lease = round % 7 == 3 ? try reader(store) : nil
            try store.mergeWhereWorthwhile()
            withExtendedLifetime(lease) {}
            for known in store.surveyed.groups.values { try expectTrue(known, store, id, pages) }
        }
        try expectHead(store, id, holds: heap)
        try store.close()
    }

    private func expectTrue(_ known: LayerSurvey.Group, _ store: PageStore, _ id: ObjectID, _ pages: Int) throws {
        let all = try store.exclusively { () throws(StoreError) in try store.liveness(of: id) }[id]?.rows ?? []
        let layers = all.filter { known.records.contains($0.row.record) }
        #expect(layers.map(\.row.record) == known.records)
        let anew = try store.owners(of: LayerGroup(object: id, layers: layers))
        #expect(anew.entries == known.owners.entries)
        #expect(anew.pages == known.owners.pages)
        #expect(anew.written == known.owners.written)
        for page in 0..<UInt32(pages) { #expect(anew.owner(of: page) == known.owners.owner(of: page)) }
    }

    @Test func settlingAheadLeavesTheNewestInTheJournal() throws {
        let (store, id, heap) = try make(pages: 64, retained: 1, ring: 1 << 20)
        // A record of two pages takes three.
        for round in 0..<16 { try write(store, id, heap, [2 * round, 2 * round + 1], UInt64(round)) }
        #expect(try store.settleAhead())
        let young = store.state.withLock { $0.young.map(\.version) }
        #expect(young.last == store.lastVersion)
        // An eighth of the ring, and no record that begins before it.
        #expect(young.count == (1 << 20) / 8 / (3 * Page.size))
        #expect(try !store.settleAhead())
        try expectHead(store, id, holds: heap)
        try store.settle()
        #expect(store.settledVersion == store.lastVersion)
        try expectHead(store, id, holds: heap)
        try store.close()
    }

    @Test func aLongRecordSettlesFromMemory() throws {
        let (store, id, heap) = try make(pages: 300, retained: 1)
        try write(store, id, heap, 0..<100, 1)
        try write(store, id, heap, [5], 2)
        try write(store, id, heap, 100..<300, 3)
        // What the long records hold is not read from the ring again.
        let young = store.state.withLock { $0.young.map(\.header) }
        let journal = open(folder.path + "/" + StoreFile.journal, O_RDWR)
        for header in [young[0], young[2]] {
            let zeros = [UInt8](repeating: 0, count: Int(header.length))
            let offset = Journal.superblockSize + Int(header.position % UInt64(store.ringBytes))
            #expect(pwrite(journal, zeros, zeros.count, off_t(offset)) == zeros.count)
        }
        close(journal)
        try store.settle()
        try expectHead(store, id, holds: heap)
        // Memory is used again, and holds then what was written then.
        try write(store, id, heap, 0..<300, 4)
        try store.settle()
        try write(store, id, heap, 0..<150, 5)
        try store.settle()
        try expectHead(store, id, holds: heap)
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        #expect(findings.isEmpty)
        try store.close()
    }

    @Test func whatAReaderMayHaveMappedStays() throws {
        let (store, id, heap) = try make(pages: 100, retained: 1)
        store.mergePolicy = .eager
        try write(store, id, heap, 0..<100, 1)
        try store.settle()
        let lease = try reader(store)
        try write(store, id, heap, 0..<100, 2)
        try store.settle()
        try write(store, id, heap, 0..<100, 3)
        try store.settle()
        _ = try store.reclaim()
        // The first layer stays as it is, of the second one nothing is left.
        #expect(try store.reclaim(dryRun: true).bytesPinned == 0)
        #expect(try rows(store, id).map(\.pageCount) == [100, 100])
        withExtendedLifetime(lease) {}
        try store.close()
    }
}
