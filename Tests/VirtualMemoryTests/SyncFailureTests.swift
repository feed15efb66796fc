import Glibc
import Synchronization
import TestSupport
import Testing
import Varve

/// vm_msync that fails has changed nothing, and fails for the range that it was given alone.
@Suite struct SyncFailureTests {
    static let flags: [SyncFlags] = [
        [.synchronous, .killPages], [.asynchronous, .killPages], [.synchronous, .invalidate], [.synchronous, .killPages, .invalidate],
    ]
    private let page = Bench.page

    /// A disk without room for the commit: what was stored is there still, whatever memory it is in, and is committed or dropped
    /// when there is room.
    @Test(.enabled(if: SmallDisk.isPossible, "no small disk: \(SmallDisk.reasonAgainst ?? "")"), arguments: Self.flags)
    func aCommitThatFailsDropsNothing(_ flags: SyncFlags) throws {
        for options in everyMode {
            let disk = try SmallDisk(mebibytes: 24)
            let path = disk.path + "/store"
            try Store.create(path, options: .init(ringBytes: 256 << 10, windowBase: StoreFixture.newWindowBase()))
            let store = try Store.open(path, options: options)
            store.setLeastLazyCopy(pages: 1)
            let task = try store.task(named: "main")
            func words(_ address: UInt64, of task: VMTask) -> [Int] { (0..<4).map { task.pointer(address + $0 * page).load(as: Int.self) } }
            func fill(_ address: UInt64, _ values: [Int]) {
                for (number, value) in values.enumerated() { task.pointer(address + UInt64(number) * page).storeBytes(of: value, as: Int.self) }
            }
            let named = try store.createObject(named: "a", size: 4 * page)
            let heap = try store.createObject(named: "heap", size: 4 * page, residency: .exclusive)
            let elsewhere = try task.map(size: 100 * page, inheritance: .none)
            // Neighbours, so that one range has them all: shared, exclusive, without a name, new, copied, shown by vm_copy.
            let start = try task.map(size: 4 * page, object: named)
            let second = try task.map(size: 4 * page, object: heap)
            let third = try task.map(size: 4 * page, inheritance: .share)
            let moved = try task.map(size: 4 * page, inheritance: .none)
            for (number, region) in [start, second, third, moved].enumerated() { fill(region, [1, 2, 3, 4].map { $0 + number * 10 }) }
            try store.commit()
            fill(elsewhere, [71, 72, 73, 74])
            let replaced = try task.region(moved).object
            try task.copy(source: elsewhere, size: 4 * page, destination: moved)
            try #require(task.region(moved).object != replaced)
            let copy = try task.map(size: 4 * page, object: named, copy: true)
            let fresh = try task.map(size: 4 * page, inheritance: .share)
            for region in [start, second, third, moved, copy, fresh] { fill(region + page, [-1, -2]) }
            for number in 0..<100 { memset(task.pointer(elsewhere + UInt64(number) * page), Int32(number + 1), 4096) }
            let shown = [start, second, third, moved, copy, fresh]
            let before = shown.map { words($0, of: task) }, entries = task.entries
            let end = max(copy, fresh) + 4 * page
            try #require(elsewhere < start && shown.allSatisfy { $0 >= start })

            disk.leave(0)
            var code: KernReturn?
            do { try task.sync(address: start, size: end - start, flags) } catch { code = error.code }
            #expect(code == .resourceShortage)
            #expect(shown.map { words($0, of: task) } == before && task.entries == entries)
            #expect(task.pointer(elsewhere + 50 * page).load(as: UInt8.self) == 51)
            #expect(try store.hasUncommittedChanges())

            disk.makeRoom()
            try task.sync(address: start, size: end - start, flags)
            if flags.contains(.asynchronous) { try store.flush() }
            let kept = shown.map { words($0, of: task) }
            if flags.contains(.killPages) {
                #expect(kept == [[1, 2, 3, 4], [11, 12, 13, 14], [21, 22, 23, 24], [31, 32, 33, 34], [1, 2, 3, 4], [0, 0, 0, 0]])
            } else {
                #expect(kept == before)
            }
            // What is there is what is committed.
            try store.commit()
            #expect(shown.map { words($0, of: task) } == kept)
            try store.close()
            let again = try Store.open(path, options: options)
            let attached = try again.task(named: "main")
            #expect(shown.map { words($0, of: attached) } == kept)
            #expect(attached.pointer(elsewhere + 50 * page).load(as: UInt8.self) == 51)
            #expect(try again.verify { _ in }.findings == 0)
            try again.close()
        }
    }

    /// What kill-pages drops is in no version, not even for a moment.
    @Test(arguments: everyMode)
    func whatIsKilledIsNotCommitted(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        for residency in [Residency.shared, .exclusive] {
            let object = try bench.store.createObject(named: "\(residency)", size: 4 * page, residency: residency)
            let address = try bench.task.map(size: 4 * page, object: object)
            bench.fill(address, [1, 2, 3, 4])
            try bench.store.commit()
            bench.fill(address, [10, 20, 30, 40])
            try bench.task.sync(address: address + page, size: 2 * page, [.synchronous, .killPages])
            #expect(bench.words(address, 4) == [10, 2, 3, 40])
            #expect(try !bench.store.hasUncommittedChanges())
            let committed = try bench.store.mapState(.init(name: "\(residency)")).withBytes { bytes in
                (0..<4).map { bytes.load(fromByteOffset: $0 * 4096, as: Int.self) }
            }
            #expect(committed == [10, 2, 3, 40])
        }
        try bench.store.close()
    }

    /// A manager that takes no pages is the affair of the range that shows its object.
    @Test(arguments: everyMode)
    func theAnswerIsOfTheRangesOwnObjects(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let isBroken = Mutex(true)
        let manager = TestManager(onReturn: { _ in if isBroken.withLock({ $0 }) { throw Complaint("out of paper") } })
        let managed = try bench.store.makeObject(size: 2 * page, manager: manager)
        let there = try bench.task.map(size: 2 * page, object: managed)
        let plain = try bench.task.map(size: 2 * page, object: try bench.object("plain"))
        for flags in [SyncFlags.synchronous, [.synchronous, .invalidate], [.synchronous, .killPages]] {
            bench.set(there, 5)
            bench.fill(plain, [6, 7])
            #expect(bench.code { try bench.task.sync(address: plain, size: page, flags) } == .success)
            #expect(try bench.store.mapState(.init(name: "plain")).withBytes { $0.load(fromByteOffset: 4096, as: Int.self) } == 7)
            bench.set(there, 6)
            #expect(bench.code { try bench.task.sync(address: there, size: page, .synchronous) } == .memoryError)
            #expect(bench.word(there) == 6)
        }
        #expect { try bench.store.commit() } throws: { ($0 as? StoreError)?.code == .notReturned }
        isBroken.withLock { $0 = false }
        #expect(bench.code { try bench.task.sync(address: there, size: page, .synchronous) } == .success)
        #expect(manager.pages.withLock { $0[0]?[0] } == 6)
        try bench.store.close()
    }
}
