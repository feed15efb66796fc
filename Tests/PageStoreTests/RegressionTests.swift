import Foundation
@testable import PageStore
import PageStoreModel
import Synchronization
import TestSupport
import Testing
import VMTypes

/// One test for each mistake that the page store once made.
@Suite struct RegressionTests {
    let folder = TemporaryFolder()

    private func make(ring: Int = 256 << 10) throws -> PageStore {
        _ = try PageStore.create(in: folder.path, options: .init(ringBytes: ring))
        return try PageStore.open(folder.path)
    }

    private func object(_ store: PageStore, pages: Int, name: String = "") throws -> ObjectID {
        let id = ObjectID(store.newID())
        let size = UInt64(pages * Page.size)
        _ = try store.commit([], operations: [.createObject(id: id, name: name, size: size, residency: .shared)])
        return id
    }

    @Test func anObjectThatWasNeverWrittenHasItsSize() throws {
        let store = try make()
        let id = try object(store, pages: 7)
        #expect(try store.head(of: id).pageCount == 7)
        try store.close()
    }

    /// A table that had lost its name was made anew, empty: a flipped bit took all snapshots.
    @Test func aTableOfAnotherNameIsDamage() throws {
        try make().close()
        let path = folder.path + "/" + StoreFile.pages
        let sound = try Data(contentsOf: URL(fileURLWithPath: path))
        for table in Table.allCases {
            var bytes = sound
            var start = bytes.startIndex
            while let found = bytes.range(of: Data(table.name.utf8), in: start..<bytes.endIndex) {
                bytes[found.lowerBound + 2] ^= 1
                start = found.upperBound
            }
            try bytes.write(to: URL(fileURLWithPath: path))
            for access in [PageStore.Access.write, .read] {
                #expect(throws: StoreError.self, "\(table) \(access)") { try PageStore.open(folder.path, access: access).close() }
            }
        }
        try sound.write(to: URL(fileURLWithPath: path))
        try PageStore.open(folder.path).close()
    }

    /// While nothing is settled the ring takes what it has room for: each record that was answered is there after a crash.
    @Test func aRecordNeverLiesOverOneThatIsNotSettled() throws {
        let store = try make()
        let id = try object(store, pages: 200)
        try store.settle()
        final class Progress: Sendable {
            let isHeld = Mutex(true)
            let answered = Mutex(0)
        }
        let progress = Progress()
        Failpoint.observe { name in
            guard name == "settle.begin" else { return }
            while progress.isHeld.withLock({ $0 }) { usleep(1000) }
        }
        defer { Failpoint.observe(nil) }
        let committer = Thread {
            let heap = Heap(pages: 200)
            for commit in 0..<30 {
                for page in commit * 5..<commit * 5 + 5 { heap.fill(page, UInt64(commit + 1) << 32) }
                guard (try? store.commit([heap.layer(id, Array(commit * 5..<commit * 5 + 5))])) != nil else { return }
                progress.answered.withLock { $0 = commit + 1 }
            }
        }
        committer.start()
        // Until it waits for room.
        var (seen, still) = (-1, 0)
        while still < 50 {
            let now = progress.answered.withLock { $0 }
            still = now == seen && now > 0 ? still + 1 : 0
            seen = now
            usleep(10_000)
        }
        #expect(seen < 30)
        try FileManager.default.copyItem(atPath: folder.path, toPath: folder.path + "-crashed")
        defer { try? FileManager.default.removeItem(atPath: folder.path + "-crashed") }
        progress.isHeld.withLock { $0 = false }
        while progress.answered.withLock({ $0 }) < 30, committer.isExecuting { usleep(1000) }
        #expect(progress.answered.withLock { $0 } == 30)
        Failpoint.observe(nil)
        try store.close()
        let crashed = try PageStore.open(folder.path + "-crashed")
        let expected = Heap(pages: 200)
        for page in 0..<seen * 5 { expected.fill(page, UInt64(page / 5 + 1) << 32) }
        let found = Heap(pages: 200)
        try crashed.head(of: id).read(PageRange(start: 0, count: seen * 5), into: found.base)
        #expect(memcmp(found.base, expected.base, seen * 5 * Page.size) == 0)
        try crashed.close()
    }

    @Test func aPageRewrittenAboveTheCutIsKept() throws {
        let store = try make()
        let heap = Heap(pages: 10)
        let id = try object(store, pages: 10)
        heap.fill(7, 99)
        _ = try store.commit([heap.layer(id, [7])])
        _ = try store.head(of: id)
        var layer = heap.layer(id, [7])
        layer.floorPage = 5
        let size = UInt64(10 * Page.size)
        _ = try store.commit([layer], operations: [.resizeObject(id: id, size: UInt64(5 * Page.size)), .resizeObject(id: id, size: size)])
        #expect(try firstWord(try store.head(of: id), 7) == 99)
        try store.close()
    }

    @Test func aPageOfTheOldHeadWrittenWithARollbackIsKept() throws {
        let store = try make()
        let heap = Heap(pages: 4)
        let id = try object(store, pages: 4)
        heap.fill(0, 1)
        let first = try store.commit([heap.layer(id, [0])])
        heap.fill(0, 2)
        _ = try store.commit([heap.layer(id, [0])])
        _ = try store.head(of: id)
        _ = try store.commit(
            [heap.layer(id, [0])],
            operations: [.lineage(object: id, source: id, sourceVersion: first, size: UInt64(heap.count))])
        #expect(try firstWord(try store.head(of: id), 0) == 2)
        try store.close()
    }

    @Test func aStateWhoseLayersAreGoneIsRefused() throws {
        let store = try make()
        let heap = Heap(pages: 2)
        let id = try object(store, pages: 2)
        _ = try store.commit([], operations: [.setRetention(Retention(versions: 1, seconds: 0))])
        heap.fill(0, 1)
        let kept = try store.commit([heap.layer(id, [0])])
        heap.fill(0, 2)
        let gone = try store.commit([heap.layer(id, [0])])
        _ = try store.commit(
            [], operations: [.lineage(object: id, source: id, sourceVersion: kept, size: UInt64(heap.count))])
        heap.fill(0, 3)
        _ = try store.commit([heap.layer(id, [0])])
        try store.settle()
        _ = try store.reclaim()
        #expect { try store.view(of: id, at: gone) } throws: { ($0 as? StoreError)?.code == .notRetained }
        #expect { try store.commit([], operations: [.createSnapshot(name: "s", version: gone, object: id, message: "")]) } throws: {
            ($0 as? StoreError)?.code == .notRetained
        }
        try store.close()
    }

    @Test func operationsLargerThanTheRingAreRefused() throws {
        let store = try make()
        #expect { try store.commit([], operations: [.mapChanges([UInt8](repeating: 1, count: 200_000))]) } throws: {
            ($0 as? StoreError)?.code == .full
        }
        _ = try store.commit([], operations: [.mapChanges([1])])
        try store.close()
    }

    @Test func operationsOfOneCommitSeeEachOther() throws {
        let store = try make()
        let old = try object(store, pages: 1, name: "a")
        let id = ObjectID(store.newID())
        _ = try store.commit(
            [],
            operations: [
                .deleteObject(id: old), .createObject(id: id, name: "a", size: 4096, residency: .shared),
                .renameObject(id: id, name: "b"),
            ])
        #expect(try store.object(named: "b")?.id == id)
        #expect { try store.commit([], operations: [.renameObject(id: id, name: "c"), .renameObject(id: old, name: "c")]) } throws: {
            $0 is StoreError
        }
        try store.close()
    }

    @Test func aStoreIsOpenedOnceInAProcess() throws {
        let store = try make()
        #expect { try PageStore.open(folder.path, access: .read) } throws: { ($0 as? StoreError)?.code == .busy }
        try store.close()
        try PageStore.open(folder.path, access: .read).close()
    }

    @Test func threadsCommitWhileOthersReadAndSettle() async throws {
        let store = try make()
        let count = 4
        let rounds = Budget.of(quick: 60, default: 250, full: 1500)
        let ids = try (0..<count).map { _ in try object(store, pages: 16) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for id in ids {
                group.addTask {
                    let heap = Heap(pages: 16)
                    var generator = SeededGenerator(seed: id.rawValue)
                    for round in 1...rounds {
                        let pages = Array(Set((0..<3).map { _ in Int.random(in: 0..<16, using: &generator) }))
                        for page in pages { heap.fill(page, UInt64(round) << 8) }
                        let operations: [StoreOperation] = round % 9 == 0 ? [.mapChanges([1])] : []
                        let version = try store.commit(
                            [heap.layer(id, pages)], operations: operations, durability: round % 4 == 0 ? .synced : .deferred)
                        let view = try store.view(of: id, at: version)
                        for page in 0..<16 {
                            let word = (heap.base + page * Page.size).load(as: UInt64.self)
                            guard try firstWord(view, page) == word, try firstWord(try store.head(of: id), page) == word else {
                                throw Mismatch("round \(round): page \(page) of \(id)")
                            }
                        }
                    }
                }
            }
            group.addTask {
                for _ in 0..<rounds / 4 {
                    try store.settleOnce()
                    try store.mergeWhereWorthwhile()
                }
            }
            group.addTask {
                for round in 0..<rounds / 4 {
                    // A clone of a young state, while it is being settled.
                    let clone = ObjectID(store.newID())
                    let source = ids[round % count]
                    let version = store.lastVersion
                    _ = try? store.commit(
                        [],
                        operations: [
                            .createObject(id: clone, name: "", size: UInt64(16 * Page.size), residency: .shared),
                            .lineage(object: clone, source: source, sourceVersion: version, size: UInt64(16 * Page.size)),
                        ])
                    guard try store.object(clone)?.isLive == true else { continue }
                    for page in 0..<16 { _ = try firstWord(try store.head(of: clone), page) }
                    _ = try store.commit([], operations: [.deleteObject(id: clone)])
                }
            }
            try await group.waitForAll()
        }
        try store.settle()
        _ = try store.reclaim()
        var findings: [Finding] = []
        try store.verify { findings.append($0) }
        #expect(findings.isEmpty, "\(findings)")
        try store.close()
    }
}
