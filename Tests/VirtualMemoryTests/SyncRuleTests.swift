import TestSupport
import Testing
import Varve

/// vm_msync: what is scheduled, and what happens without a flag that says what.
@Suite struct SyncRuleTests {
    private let page = Bench.page

    /// Nobody waits for the disk, nor need anybody ask for it later.
    @Test func asynchronousIsScheduled() throws {
        let bench = try Bench()
        let address = try bench.task.allocate(size: page)
        bench.set(address, 5)
        let before = try bench.store.statistics().flushedVersion
        try bench.task.sync(address: address, size: page, .asynchronous)
        #expect(try !bench.store.hasUncommittedChanges())
        #expect(eventually { ((try? bench.store.statistics().flushedVersion) ?? before) > before })
        try bench.store.close()
        #expect(bench.word(address, of: try bench.reopened(.init()).task(named: "main")) == 5)
    }

    @Test(arguments: [SyncFlags([]), .contiguous, .deactivate])
    func withoutAnOrderItCommitsAndDropsNothing(_ flags: SyncFlags) throws {
        let bench = try Bench()
        let address = try bench.task.allocate(size: 2 * page)
        bench.fill(address, [1, 2])
        let version = try bench.store.commit()
        bench.set(address, 5)
        try bench.task.sync(address: address, size: 2 * page, flags)
        #expect(try bench.words(address, 2) == [5, 2] && bench.store.hasUncommittedChanges())
        #expect(try bench.store.statistics().flushedVersion == version)
        try bench.store.close()
    }

    /// What was never committed was zeros.
    @Test(arguments: [SyncFlags.invalidate, .killPages])
    func whatNoCommitHoldsIsZerosAgain(_ flags: SyncFlags) throws {
        for options in everyMode {
            let bench = try Bench(options)
            let address = try bench.task.allocate(size: 3 * page)
            bench.fill(address, [1, 2, 3])
            try bench.task.sync(address: address + page, size: page, flags)
            #expect(bench.words(address, 3) == [1, 0, 3])
            try bench.store.commit()
            try bench.store.close()
            #expect(bench.words(address, 3, of: try bench.reopened(options).task(named: "main")) == [1, 0, 3])
        }
    }

    /// What is dropped is whatever is uncommitted, whoever stored it.
    @Test(arguments: [SyncFlags.invalidate, .killPages])
    func anotherProcesssStoresAreDroppedToo(_ flags: SyncFlags) throws {
        let bench = try Bench()
        let address = try bench.task.map(size: 4 * page, object: try bench.object("a"))
        bench.fill(address, [1, 2, 3, 4])
        try bench.store.commit()
        let remote = try RemoteStore.connect(bench.fixture.path)
        let other = try remote.task()
        let there = try other.map(size: 4 * page, object: try remote.object(named: "a"), maximum: .default)
        for number in 0..<UInt64(4) { other.pointer(there + number * page).storeBytes(of: 50, as: Int.self) }
        try bench.task.sync(address: address + page, size: 2 * page, flags)
        #expect(bench.words(address, 4) == [50, 2, 3, 50])
        #expect(other.pointer(there + page).load(as: Int.self) == 2)
        remote.close()
        try bench.store.close()
    }
}
