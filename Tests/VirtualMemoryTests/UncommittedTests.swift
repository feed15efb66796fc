import Foundation
import PageStore
import TestSupport
import Testing
import Varve

/// What happens to bytes and maps that no commit has taken: nothing is lost, nothing stays that should not.
@Suite(.serialized) struct UncommittedTests {
    let fixture = StoreFixture()

    @Test(arguments: everyMode)
    func aRollbackOfAnObjectThatIsMappedInPartRestoresThatPart(_ options: Store.OpenOptions) throws {
        try fixture.create()
        let store = try fixture.open(options)
        let object = try store.createObject(named: "a", size: 8 * 4096)
        let task = try store.task(named: "main")
        let whole = try task.map(size: 8 * 4096, object: object)
        try store.commit(snapshot: "empty")
        for page in 0..<8 { task.pointer(whole + UInt64(page) * 4096).storeBytes(of: page + 1, as: Int.self) }
        try task.deallocate(address: whole, size: 8 * 4096)
        let part = try task.map(size: 2 * 4096, object: object, offset: 4 * 4096)
        try store.commit()
        try store.rollback(to: .snapshot("empty"), object: "a")
        for page in 0..<2 { #expect(task.pointer(part + UInt64(page) * 4096).load(as: Int.self) == 0) }
        #expect(try store.diff(.snapshot("empty"), .head, object: "a").isEmpty)
        try store.close()
    }

    @Test(arguments: everyMode)
    func storingWhatIsThereChangesNothingAndForbidsNoRollback(_ options: Store.OpenOptions) throws {
        try fixture.create()
        let store = try fixture.open(options)
        let object = try store.createObject(named: "a", size: 3 * 4096)
        let task = try store.task(named: "main")
        let address = try task.map(size: 3 * 4096, object: object)
        task.pointer(address).storeBytes(of: 7, as: Int.self)
        try store.commit(snapshot: "seven")
        task.pointer(address).storeBytes(of: 8, as: Int.self)
        try store.commit()
        task.pointer(address).storeBytes(of: 8, as: Int.self)
        task.pointer(address + 4096).storeBytes(of: 0, as: Int.self)
        #expect(try !store.hasUncommittedChanges())
        try store.rollback(to: .snapshot("seven"), object: "a")
        #expect(task.pointer(address).load(as: Int.self) == 7)
        task.pointer(address + 8192).storeBytes(of: 1, as: Int.self)
        #expect(try store.hasUncommittedChanges())
        #expect { try store.rollback(to: .snapshot("seven")) } throws: { ($0 as? StoreError)?.code == .busy }
        try store.close()
    }

    @Test(arguments: everyMode)
    func bytesOfAnUnmappedObjectAreCommittedAndComeBackWhereItIsMappedAgain(_ options: Store.OpenOptions) throws {
        try fixture.create()
        var store = try fixture.open(options)
        let object = try store.createObject(named: "a", size: 50 * 4096)
        let task = try store.task(named: "main")
        var address = try task.map(size: 50 * 4096, object: object)
        for page in 0..<50 { task.pointer(address + UInt64(page) * 4096).storeBytes(of: page + 1, as: Int.self) }
        try task.deallocate(address: address, size: 50 * 4096)
        #expect(try store.hasUncommittedChanges())
        // A mapping of a part shows its part; the rest waits for the commit.
        let guardPage = try task.allocate(address: task.windowBase + 10 * 4096, size: 4096, anywhere: false)
        address = try task.map(
            address: task.windowBase, size: 10 * 4096, anywhere: false, object: object, offset: 20 * 4096)
        for page in 0..<10 { #expect(task.pointer(address + UInt64(page) * 4096).load(as: Int.self) == page + 21) }
        #expect(task.pointer(guardPage).load(as: Int.self) == 0)
        task.pointer(address).storeBytes(of: 1000, as: Int.self)
        try store.commit()
        try task.deallocate(address: address, size: 10 * 4096)
        try store.commit()
        try store.close()
        store = try fixture.open(options)
        let state = try store.mapState(.init(name: "a"))
        for page in 0..<50 {
            #expect(state.withBytes { $0.load(fromByteOffset: page * 4096, as: Int.self) } == (page == 20 ? 1000 : page + 1))
        }
        try store.close()
    }

    @Test func abandoningMovesAnObjectBackToTheTaskThatHadIt() throws {
        try fixture.create()
        let store = try fixture.open()
        let object = try store.createObject(named: "a", size: 8192)
        let tasks = try (0..<4).map { try store.task(named: "task\($0)") }
        let address = try tasks[0].map(size: 8192, object: object)
        tasks[0].pointer(address).storeBytes(of: 5, as: Int.self)
        try store.commit()
        for other in tasks.dropFirst() {
            try tasks[0].deallocate(address: address, size: 8192)
            let elsewhere = try other.map(size: 8192, object: object)
            other.pointer(elsewhere).storeBytes(of: 6, as: Int.self)
            try store.abandon()
            #expect(other.entries.isEmpty)
            #expect(tasks[0].entries.count == 1)
            #expect(tasks[0].pointer(address).load(as: Int.self) == 5)
            #expect(try !store.hasUncommittedChanges())
        }
        try store.close()
    }

    @Test func aTaskMadeBeforeAbandoningIsCommittedWithItsMaps() throws {
        try fixture.create()
        var store = try fixture.open()
        var task = try store.task(named: "main")
        try store.abandon()
        let address = try task.allocate(size: 4096)
        task.pointer(address).storeBytes(of: 7, as: Int.self)
        try store.commit()
        try store.close()
        store = try fixture.open()
        task = try store.task(named: "main")
        #expect(task.entries.map(\.start) == [address])
        #expect(task.pointer(address).load(as: Int.self) == 7)
        try store.close()
    }

    @Test func memoryWithoutANameEndsWithItsMapping() throws {
        try fixture.create()
        let store = try fixture.open()
        let task = try store.task(named: "main")
        try store.commit()
        for commits in [false, true] {
            let address = try task.allocate(size: 64 * 4096)
            task.pointer(address).storeBytes(of: 7, as: Int.self)
            if commits { try store.commit() }
            try task.deallocate(address: address, size: 64 * 4096)
            #expect(try store.hasUncommittedChanges() == commits)
            try store.commit()
            #expect(try store.objects().isEmpty)
        }
        try store.close()
    }

    @Test func abandonedDeallocationOfNamelessMemoryBringsItBack() throws {
        try fixture.create()
        let store = try fixture.open()
        let task = try store.task(named: "main")
        let address = try task.allocate(size: 4 * 4096)
        task.pointer(address).storeBytes(of: 7, as: Int.self)
        try store.commit()
        task.pointer(address).storeBytes(of: 8, as: Int.self)
        try task.deallocate(address: address, size: 4 * 4096)
        try store.abandon()
        #expect(task.pointer(address).load(as: Int.self) == 7)
        task.pointer(address).storeBytes(of: 9, as: Int.self)
        try store.commit()
        #expect(try store.objects().count == 1)
        try store.close()
    }

    @Test func aSecondTaskThatMapsAnAttachedExclusiveObjectSharesIt() throws {
        try fixture.create()
        var store = try fixture.open()
        let object = try store.createObject(named: "a", size: 4096, residency: .exclusive)
        var first = try store.task(named: "first")
        _ = try first.map(size: 4096, object: object)
        try store.commit()
        try store.close()
        store = try fixture.open()
        let second = try store.task(named: "second")
        let address = try second.map(size: 4096, object: object)
        second.pointer(address).storeBytes(of: 3, as: Int.self)
        first = try store.task(named: "first")
        let there = first.entries[0].start
        #expect(first.pointer(there).load(as: Int.self) == 3)
        first.pointer(there).storeBytes(of: 4, as: Int.self)
        #expect(second.pointer(address).load(as: Int.self) == 4)
        try store.close()
    }

    #if DEBUG
    @Test(arguments: everyMode)
    func aCommitThatFailsKeepsEveryChangedPage(_ options: Store.OpenOptions) throws {
        try fixture.create()
        let store = try fixture.open(options)
        let task = try store.task(named: "main")
        let addresses = try ["a", "b", "c"].map { name in
            try task.map(size: 20 * 4096, object: try store.createObject(named: name, size: 20 * 4096))
        }
        try task.protect(address: addresses[2], size: 20 * 4096, .default)
        try store.commit()
        for (index, address) in addresses.enumerated() {
            for page in 0..<20 { task.pointer(address + UInt64(page) * 4096).storeBytes(of: index * 100 + page, as: Int.self) }
        }
        // The name is refused: nothing of the commit happens, again and again.
        try store.createSnapshot("taken")
        for _ in 0..<3 {
            #expect { try store.commit(snapshot: "taken") } throws: { ($0 as? StoreError)?.code == .exists }
            #expect(try store.hasUncommittedChanges())
        }
        for index in 0..<3 {
            #expect(try store.mapState(.init(name: ["a", "b", "c"][index])).withBytes { $0.allSatisfy { $0 == 0 } })
        }
        try store.commit()
        for (index, name) in ["a", "b", "c"].enumerated() {
            let state = try store.mapState(.init(name: name))
            for page in 0..<20 { #expect(state.withBytes { $0.load(fromByteOffset: page * 4096, as: Int.self) } == index * 100 + page) }
        }
        // And abandoning knows the pages of a failed commit.
        for address in addresses { task.pointer(address).storeBytes(of: -1, as: Int.self) }
        #expect(throws: StoreError.self) { try store.commit(snapshot: "taken") }
        try store.abandon()
        for (index, address) in addresses.enumerated() { #expect(task.pointer(address).load(as: Int.self) == index * 100) }
        #expect(try !store.hasUncommittedChanges())
        try store.close()
    }

    @Test func undeclaredPagesAreNamedAndBelongToTheNextCommit() throws {
        try fixture.create()
        let store = try fixture.open()
        let task = try store.task(named: "main")
        let address = try task.map(size: 20 * 4096, object: try store.createObject(named: "a", size: 20 * 4096))
        try store.commit()
        task.touch(address: address + 4096, size: 1)
        task.touch(address: address + 4096, size: .max)
        task.touch(address: .max, size: .max)
        task.touch(address: 0, size: 5)
        try store.commit()
        task.touch(address: address + 4096, size: 1)
        task.pointer(address + 4096).storeBytes(of: 1, as: Int.self)
        task.pointer(address + 3 * 4096).storeBytes(of: 3, as: Int.self)
        #expect { try store.commit(declaredOnly: true) } throws: { ($0 as? StoreError)?.code == .wrongState }
        try store.commit(declaredOnly: true)
        let state = try store.mapState(.init(name: "a"))
        #expect(state.withBytes { $0.load(fromByteOffset: 4096, as: Int.self) } == 1)
        #expect(state.withBytes { $0.load(fromByteOffset: 3 * 4096, as: Int.self) } == 3)
        #expect(try !store.hasUncommittedChanges())
        try store.close()
    }
    #endif
}
