import Foundation
import PageStore
import TestSupport
import Testing
import Varve

/// Going back: objects in place, the whole store with its tasks, chains of clones.
@Suite struct HistoryTests {
    let fixture = StoreFixture()

    /// A region of the object "a" and one without a name, which hold 1 and 2 in the snapshot "then".
    private func snapshotOfTwoRegions(_ store: Store, _ task: VMTask) throws -> (named: UInt64, nameless: UInt64) {
        let named = try task.map(size: 8192, object: try store.createObject(named: "a", size: 8192))
        let nameless = try task.allocate(size: 4096)
        task.pointer(named).storeBytes(of: 1, as: Int.self)
        task.pointer(nameless).storeBytes(of: 2, as: Int.self)
        try store.commit(snapshot: "then")
        return (named, nameless)
    }

    @Test func rollingTheStoreBackBringsDeletedObjectsAndTheirMapsBack() throws {
        try fixture.create()
        var store = try fixture.open()
        var task = try store.task(named: "main")
        let (named, nameless) = try snapshotOfTwoRegions(store, task)
        try task.deallocate(address: named, size: 8192)
        try task.deallocate(address: nameless, size: 4096)
        try store.commit()
        try store.deleteObject("a")
        try store.createObject(named: "a", size: 4096)
        #expect { try store.rollback(to: .snapshot("then")) } throws: { ($0 as? StoreError)?.code == .busy }
        try store.close()

        store = try fixture.open()
        try store.rollback(to: .snapshot("then"))
        task = try store.task(named: "main")
        #expect(task.entries.map(\.start) == [named, nameless])
        #expect(task.pointer(named).load(as: Int.self) == 1)
        #expect(task.pointer(nameless).load(as: Int.self) == 2)
        #expect(try store.object(named: "a").size == 8192)
        try store.close()
        store = try fixture.open()
        task = try store.task(named: "main")
        #expect(task.pointer(nameless).load(as: Int.self) == 2)
        try store.close()
    }

    /// The catalog has heard of neither state: nothing has settled.
    @Test func mapsComeBackThatTheCatalogHasNotHeardOf() throws {
        try fixture.create()
        let store = try fixture.open()
        var task = try store.task(named: "main")
        let (named, nameless) = try snapshotOfTwoRegions(store, task)
        try task.deallocate(address: nameless, size: 4096)
        try store.commit()
        try task.terminate()
        try store.commit()
        try store.rollback(to: .snapshot("then"))
        task = try store.task(named: "main")
        #expect(task.entries.map(\.start) == [named, nameless])
        #expect(task.pointer(named).load(as: Int.self) == 1)
        #expect(task.pointer(nameless).load(as: Int.self) == 2)
        try store.close()
    }

    /// Whether the catalog has heard of the commits, or they are in the journal yet.
    @Test(arguments: [0, 1, 2, 3])
    func aStateKnowsItsObjectsByTheNamesThatTheyHadThen(_ settledAfter: Int) throws {
        try fixture.create()
        let store = try fixture.open()
        var versions: [Version] = []
        func keep(_ version: Version) throws {
            versions.append(version)
            try store.createSnapshot("v\(versions.count)")
            if versions.count == settledAfter { _ = try store.reclaim() }
        }
        let first = try store.createObject(named: "a", size: 4096)
        try store.createObject(named: "other", size: 4096)
        try keep(try store.version(of: .head))
        try keep(try store.renameObject("a", to: "b"))
        let second = try store.createObject(named: "a", size: 8192)
        try keep(try store.version(of: .head))
        try keep(try store.deleteObject("b"))
        try store.deleteObject("a")
        func size(_ name: String, _ version: Int) -> UInt64? { try? store.size(of: .init(name: name, state: .version(versions[version - 1]))) }
        #expect((1...4).map { size("a", $0) } == [4096, nil, 8192, 8192])
        #expect((1...4).map { size("b", $0) } == [nil, 4096, 4096, nil])
        #expect(try store.diff(.snapshot("v1"), .snapshot("v2"), object: "a").map(\.kind) == [.removed])
        #expect(try store.diff(.snapshot("v1"), .snapshot("v3"), object: "a").map { "\($0.id) \($0.kind)" }.sorted()
            == ["\(first.id) removed", "\(second.id) added"])
        #expect(try store.diff(.snapshot("v1"), .snapshot("v2"), object: "\(first.id)").isEmpty)
        #expect(try store.diff(.snapshot("v3"), .snapshot("v4"), object: "\(first.id)").map(\.kind) == [.removed])
        #expect(throws: StoreError.self) { try store.diff(.snapshot("v1"), .snapshot("v1"), object: "b") }
        #expect(try store.objects(at: .snapshot("v3")).map(\.name) == ["a", "b", "other"])
        try store.rollback(to: .snapshot("v2"))
        #expect(try store.objects().map(\.name) == ["b", "other"])
        try store.close()
    }

    @Test func chainsOfClonesAreIndependent() throws {
        try fixture.create()
        let store = try fixture.open()
        try store.createObject(named: "c0", size: 64 * 4096)
        let task = try store.task(named: "main")
        for link in 0..<12 {
            let address = try task.map(size: 64 * 4096, object: try store.object(named: "c\(link)"))
            task.pointer(address + UInt64(link * 4096)).storeBytes(of: link + 1, as: Int.self)
            try store.commit()
            try store.clone(.init(name: "c\(link)"), as: "c\(link + 1)")
            task.pointer(address + 50 * 4096).storeBytes(of: -1, as: Int.self)
            try task.deallocate(address: address, size: 64 * 4096)
            try store.commit()
            if link % 4 == 3 { try store.deleteObject("c\(link - 2)") }
            if link % 3 == 2 { try store.reclaim() }
        }
        let last = try store.mapState(.init(name: "c12"))
        last.withBytes { bytes in
            for link in 0..<12 { #expect(bytes.load(fromByteOffset: link * 4096, as: Int.self) == link + 1) }
            #expect(bytes.load(fromByteOffset: 50 * 4096, as: Int.self) == 0)
        }
        try store.close()
    }

    @Test(arguments: everyMode)
    func storesDuringCommitsLandInOneVersionOrTheNext(_ options: Store.OpenOptions) throws {
        try fixture.create()
        let store = try fixture.open(options)
        let pages = 32
        let task = try store.task(named: "main")
        let address = try task.map(
            size: UInt64(2 * pages * 4096), object: try store.createObject(named: "a", size: UInt64(2 * pages * 4096)))
        // Each thread counts in its pages, one after the other, so that a page never is behind the next by more than one.
        let rounds = 400
        let group = DispatchGroup()
        for thread in 0..<2 {
            group.enter()
            Thread.detachNewThread {
                for round in 1...rounds {
                    for page in 0..<pages {
                        let target = address + UInt64((thread * pages + page) * 4096)
                        task.pointer(target).storeBytes(of: round, as: Int.self)
                        task.pointer(target + 4088).storeBytes(of: round, as: Int.self)
                    }
                }
                group.leave()
            }
        }
        var last = [Int](repeating: 0, count: 2 * pages)
        while group.wait(timeout: .now()) == .timedOut {
            try store.commit()
            try store.mapState(.init(name: "a")).withBytes { bytes in
                for page in 0..<2 * pages {
                    let word = bytes.load(fromByteOffset: page * 4096, as: Int.self)
                    #expect(word >= last[page])
                    last[page] = word
                }
            }
        }
        try store.commit()
        try store.mapState(.init(name: "a")).withBytes { bytes in
            for page in 0..<2 * pages {
                #expect(bytes.load(fromByteOffset: page * 4096, as: Int.self) == rounds)
                #expect(bytes.load(fromByteOffset: page * 4096 + 4088, as: Int.self) == rounds)
            }
        }
        #expect(try !store.hasUncommittedChanges())
        try store.close()
    }
}
