import TestSupport
import Testing
import Varve

/// An object lives while an entry, a copy, a snapshot or a name needs it, and no longer.
@Suite struct ObjectLifeTests {
    private let page = Bench.page
    private let bench: Bench
    private let child: VMTask
    private let address: UInt64
    private let values = Array(1...30)

    init() throws {
        bench = try Bench()
        child = try bench.store.task(named: "child")
        address = try child.allocate(size: 30 * Bench.page)
        bench.fill(address, Array(1...30), of: child)
        try bench.store.commit()
    }

    private func nameless(_ store: Store? = nil) throws -> Int { try (store ?? bench.store).objects().count { $0.name.isEmpty } }

    /// Ends the task whose memory it is, makes that durable, and takes out what nobody needs.
    private func end() throws {
        try child.terminate()
        try bench.store.commit()
        _ = try bench.store.reclaim()
        try bench.store.commit()
    }

    @Test func memoryThatNothingNeedsEnds() throws {
        #expect(try nameless() == 1)
        try end()
        #expect(try nameless() == 0)
        try bench.store.close()
    }

    @Test func anEntryInAnotherTaskKeepsIt() throws {
        let shown = try bench.task.remap(size: 30 * page, source: child, sourceAddress: address).address
        try end()
        #expect(try nameless() == 1 && bench.words(shown, 30) == values)
        try bench.store.close()
        let again = try bench.reopened(.init())
        #expect(bench.words(shown, 30, of: try again.task(named: "main")) == values)
    }

    @Test(arguments: [false, true])
    func aCopyKeepsWhatItReads(_ isCommitted: Bool) throws {
        let copy = try bench.task.remap(size: 30 * page, source: child, sourceAddress: address, copy: true).address
        if isCommitted { try bench.store.commit() }
        try end()
        #expect(bench.words(copy, 30) == values)
        try bench.store.close()
        let again = try bench.reopened(.init())
        #expect(bench.words(copy, 30, of: try again.task(named: "main")) == values)
        #expect(try again.verify { _ in }.findings == 0)
    }

    @Test func aSnapshotKeepsIt() throws {
        try bench.store.createSnapshot("s")
        try end()
        #expect(try nameless() == 0)
        try bench.store.close()
        let again = try bench.reopened(.init())
        let past = try again.cloneTask(named: "child", at: .snapshot("s"), as: "back")
        #expect(bench.words(past.entries[0].start, 30, of: past) == values)
    }

    @Test func aNameKeepsIt() throws {
        let object = try bench.object("named", pages: 30)
        let there = try child.map(size: 30 * page, object: object)
        bench.fill(there, values, of: child)
        try bench.store.commit()
        try end()
        let shown = try bench.task.map(size: 30 * page, object: object)
        #expect(bench.words(shown, 30) == values)
        try bench.store.close()
    }

    @Test func terminationDropsEveryMapping() throws {
        let object = try bench.object("named", pages: 1)
        let shared = try bench.task.map(size: page, object: object)
        try child.map(size: page, object: object)
        #expect(try bench.task.region(shared).isShared)
        try child.terminate()
        #expect(try !bench.task.region(shared).isShared)
        #expect(child.entries.isEmpty)
        try bench.store.close()
    }

    // MARK: Saved tasks that nobody has attached

    private func refusal(_ body: () throws -> Void) -> StoreError? {
        do {
            try body()
            return nil
        } catch { return error as? StoreError }
    }

    /// Whether a commit was settled or not: the catalog knows of the region, or has yet to hear of it.
    @Test(arguments: [false, true])
    func anEntryOfASavedTaskKeepsIt(_ isSettled: Bool) throws {
        let object = try bench.object("named", pages: 2)
        let there = try child.map(size: 2 * page, object: object)
        bench.fill(there, [5, 6], of: child)
        try bench.store.commit()
        if isSettled { _ = try bench.store.reclaim() }
        try bench.store.close()
        let again = try bench.reopened(.init())
        let error = refusal { try again.deleteObject("named") }
        #expect(error?.code == .busy && error?.message.contains("'child'") == true)
        #expect(error?.message.contains(String(there, radix: 16)) == true)
        let task = try again.task(named: "child")
        #expect(bench.words(there, 2, of: task) == [5, 6])
        // As long as the last commit has the region: what is uncommitted can be abandoned.
        try task.deallocate(address: there, size: 2 * page)
        #expect(refusal { try again.deleteObject("named") }?.code == .busy)
        try again.abandon()
        #expect(bench.words(there, 2, of: task) == [5, 6])
        try task.terminate()
        #expect(refusal { try again.deleteObject("named") }?.code == .busy)
        try again.commit()
        try again.deleteObject("named")
        #expect(try again.objects().isEmpty)
        #expect(try again.verify { _ in }.findings == 0)
        try again.close()
    }

    /// A past map needs what its version kept, and nothing of what is.
    @Test func aPastEntryKeepsNothing() throws {
        let object = try bench.object("named", pages: 2)
        let there = try child.map(size: 2 * page, object: object)
        bench.fill(there, [5, 6], of: child)
        try bench.store.commit(snapshot: "s")
        try child.deallocate(address: there, size: 2 * page)
        try bench.store.commit()
        try bench.store.close()
        let again = try bench.reopened(.init())
        try again.deleteObject("named")
        let clone = try again.cloneTask(named: "child", at: .snapshot("s"), as: "clone")
        #expect(bench.words(there - child.windowBase + clone.windowBase, 2, of: clone) == [5, 6])
        try again.close()
    }

    /// The maps go back together with the objects.
    @Test func rollingBackDeletesWhatOnlyLaterMapsShow() throws {
        let before = try bench.store.commit(snapshot: "s")
        let object = try bench.object("named", pages: 2)
        try child.map(size: 2 * page, object: object)
        #expect(try bench.store.commit() > before)
        try bench.store.close()
        let again = try bench.reopened(.init())
        try again.rollback(to: .snapshot("s"))
        #expect(refusal { _ = try again.object(named: "named") }?.code == .notFound)
        #expect(try again.task(named: "child").entries.count == 1)
        try again.close()
    }
}
