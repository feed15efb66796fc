import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import TestSupport
import Testing
import VMTypes

/// What a page store has to do with others: the files that belong to it, another writer, readers, the catalog.
@Suite struct NeighbourTests {
    let folder = TemporaryFolder("neighbours", inMemory: true)

    /// A store of one object, whose pages are all written once.
    private func make(_ name: String, pages: Int = 40) throws -> (store: PageStore, object: ObjectID, heap: Heap) {
        let path = folder.path + "/" + name
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        _ = try PageStore.create(in: path, options: .init(ringBytes: 4 << 20))
        let store = try PageStore.open(path)
        let heap = Heap(pages: pages)
        let id = ObjectID(store.newID())
        _ = try store.commit(
            [], operations: [
                .createObject(id: id, name: "one", size: UInt64(heap.count), residency: .shared),
                .setRetention(Retention(versions: 1, seconds: 0)),
            ])
        for page in 0..<pages { heap.fill(page, UInt64(page) << 20) }
        _ = try store.commit([heap.layer(id, Array(0..<pages))])
        return (store, id, heap)
    }

    @Test(arguments: [true, false]) func theJournalOfAnotherStoreIsRefused(isClosed: Bool) throws {
        for name in ["a", "b"] {
            let (store, _, _) = try make(name)
            if isClosed { try store.close() } else { store.abandon() }
        }
        let (mine, other) = ("\(folder.path)/a/\(StoreFile.journal)", "\(folder.path)/b/\(StoreFile.journal)")
        try FileManager.default.removeItem(atPath: mine)
        try FileManager.default.copyItem(atPath: other, toPath: mine)
        #expect { try PageStore.open(folder.path + "/a") } throws: { ($0 as? StoreError)?.code == .mismatchedFiles }
    }

    @Test func anotherProcessIsNoWriterBesideThisOne() throws {
        _ = try PageStore.create(in: folder.path, options: .init(ringBytes: 256 << 10))
        let store = try PageStore.open(folder.path)
        func child() throws -> CrashChild {
            try CrashChild(folder.path, seed: 3, steps: 10, .everyday, failpoint: nil, limit: -1, delay: 0)
        }
        let refused = try child()
        #expect(refused.versions.isEmpty && refused.status != 0)
        try store.close()
        let next = try child()
        #expect(next.versions.count == 10 && next.status == 0)
    }

    /// Another description of the file of leases is another process' to the kernel.
    @Test(arguments: [false, true]) func whatIsMappedStaysThoughItMoves(isAnothersLease: Bool) throws {
        let (store, id, heap) = try make("a")
        try store.settle()
        for page in 0..<20 { heap.fill(page, 1 << 40) }
        _ = try store.commit([heap.layer(id, Array(0..<20))])
        try store.settle()
        func parts() throws -> Int { try store.lmdb.read { (t) throws(StoreError) in try t.count(.records) } }
        #expect(try parts() == 2)
        let others = try LeaseFile(path: store.folder + "/" + StoreFile.leases)
        var lease: LeaseFile.Lease? = try (isAnothersLease ? others : store.leases).acquire(
            object: nil, version: store.settledVersion, epoch: store.state.withLock { $0.epoch }, horizon: .max)
        // The pages are written again, elsewhere: whoever mapped them goes on looking at where they were.
        _ = try store.optimize(id)
        #expect(try store.pinned().count { $0.horizon == .max } == 1)
        #expect(try parts() == 3)
        withExtendedLifetime(lease) {}
        lease = nil
        _ = try store.reclaim()
        #expect(try parts() == 1)
        #expect(try firstWord(try store.head(of: id), 30) == 30 << 20)
        try store.close()
    }

    /// Its pages were in the journal when it was opened; what lies there now is others'.
    @Test func aHeadIsReadableAfterTheRingWasUsedAgain() throws {
        let (store, id, heap) = try make("a")
        let head = try store.head(of: id)
        let past = try store.view(of: id, at: store.lastVersion)
        let other = ObjectID(store.newID())
        _ = try store.commit(
            [], operations: [.createObject(id: other, name: "other", size: UInt64(heap.count), residency: .shared)])
        let bytes = Heap(pages: 40)
        for round in 0..<2 * store.ringBytes / heap.count {
            for page in 0..<40 { bytes.fill(page, UInt64(round + 1) << 40 + UInt64(page)) }
            _ = try store.commit([bytes.layer(other, Array(0..<40))])
        }
        for view in [head, past] { for page in [0, 17, 39] { #expect(try firstWord(view, page) == UInt64(page) << 20) } }
        try store.close()
    }

    /// Until it is told that the catalog has them.
    @Test func theOutboxHoldsEachCommitOfNamesAndMaps() throws {
        let (store, id, heap) = try make("a")
        var versions: [Version] = []
        for number in UInt8(1)...5 {
            versions.append(try store.commit([], operations: [.mapChanges([number]), .message("\(number)")]))
            heap.fill(0, UInt64(number))
            _ = try store.commit([heap.layer(id, [0])])
            if number % 2 == 0 { try store.settle() }
        }
        try store.settle()
        func told() throws -> [CommitInfo] { try store.outbox(after: .zero).filter { versions.contains($0.version) } }
        #expect(try told().map(\.version) == versions)
        for (number, commit) in try told().enumerated() {
            #expect(commit.operations == [.mapChanges([UInt8(number + 1)]), .message("\(number + 1)")])
        }
        try store.trimOutbox(through: versions[2])
        #expect(try told().map(\.version) == Array(versions[3...]))
        try store.close()
    }
}
