import TestSupport
import Testing
import Varve

/// Tasks, inheritance, memory entries.
@Suite struct SemanticsTasksTests {
    let bench: Bench
    let page = Bench.page
    var task: VMTask { bench.task }
    var base: UInt64 { bench.base }

    init() throws { bench = try Bench() }

    /// What lies at `address` of the first task lies there in the other.
    private func there(_ address: UInt64, _ other: VMTask) -> UInt64 { address - base + other.windowBase }

    @Test func noneIsAbsentInTheChild() throws {
        let address = try task.map(size: page, inheritance: .none)
        let child = try task.createChild(named: "child")
        #expect(child.entries.isEmpty)
        #expect(bench.code { _ = try child.read(address: there(address, child), size: 1) } == .invalidAddress)
        #expect(try task.createChild(named: "bare", inherits: false).entries.isEmpty)
        try bench.store.close()
    }

    @Test func sharedMemoryIsSharedWithGrandchildrenAndCopiesNeverSeeIt() throws {
        let address = try task.map(size: 4 * page, inheritance: .share)
        bench.fill(address, [1, 2, 3, 4])
        let earlier = try task.remap(size: 4 * page, source: task, sourceAddress: address, copy: true, inheritance: .none).address
        let child = try task.createChild(named: "child")
        let grandchild = try child.createChild(named: "grandchild")
        bench.set(there(address, grandchild), 10, of: grandchild)
        bench.set(there(address + page, child), 20, of: child)
        bench.set(address + 2 * page, 30)
        let later = try task.remap(size: 4 * page, source: task, sourceAddress: address, copy: true, inheritance: .none).address
        bench.set(there(address + 3 * page, grandchild), 40, of: grandchild)
        for other in [child, grandchild] { #expect(bench.words(there(address, other), 4, of: other) == [10, 20, 30, 40]) }
        #expect(bench.words(address, 4) == [10, 20, 30, 40])
        #expect(bench.words(earlier, 4) == [1, 2, 3, 4] && bench.words(later, 4) == [10, 20, 30, 4])
        #expect(try grandchild.region(there(address, grandchild)).inheritance == .share)
        // After a commit and a reopening too.
        try bench.store.commit()
        try bench.store.close()
        let again = try bench.fixture.open()
        let son = try again.task(named: "grandchild"), parent = try again.task(named: "main")
        bench.set(there(address, son), 50, of: son)
        #expect(bench.word(address, of: parent) == 50 && bench.word(later, of: parent) == 10)
        try again.close()
    }

    @Test func copiedMemoryIsAsAtTheCallForBothSides() throws {
        let address = try task.allocate(size: 4 * page)
        bench.fill(address, [1, 2, 3, 4])
        try bench.store.commit()
        bench.set(address, 10)
        let child = try task.createChild(named: "child")
        let son = there(address, child)
        bench.set(address + page, 20)
        bench.set(son + 2 * page, 30, of: child)
        let grandchild = try child.createChild(named: "grandchild")
        bench.set(son + 3 * page, 40, of: child)
        #expect(bench.words(address, 4) == [10, 20, 3, 4])
        #expect(bench.words(son, 4, of: child) == [10, 2, 30, 40])
        #expect(bench.words(there(address, grandchild), 4, of: grandchild) == [10, 2, 30, 4])
        #expect(try child.region(son).inheritance == .copy && child.region(son).isCopied)
        try bench.store.commit()
        #expect(bench.words(son, 4, of: child) == [10, 2, 30, 40])
        try bench.store.close()
    }

    @Test func aChildHasItsParentsProtectionsAndNothingIsWired() throws {
        try task.map(address: base, size: page, anywhere: false, current: .read, maximum: .default, inheritance: .share)
        try task.map(address: base + page, size: page, anywhere: false, current: .none, maximum: .read)
        try task.wire(address: base, size: page, access: .read)
        let child = try task.createChild(named: "child")
        #expect(child.entries.map(\.current) == [.read, .none] && child.entries.map(\.maximum) == [.default, .read])
        #expect(child.entries.allSatisfy { $0.wiredCount == 0 })
        try bench.store.close()
    }

    @Test func createChildIsAllOrNothing() throws {
        #expect(try bench.refused { _ = try task.createChild(named: "main") } == .nameExists)
        #expect(try bench.refused { _ = try task.createChild(named: "") } == .invalidArgument)
        #expect(bench.code { _ = try task.createChild(named: "child", inherits: false) } == .success)
        try bench.store.close()
    }

    @Test func terminateDropsEveryMappingAndAnObjectLivesWhileItIsNeeded() throws {
        let object = try bench.object("named")
        let child = try bench.store.task(named: "child")
        let named = try child.map(size: 4 * page, object: object)
        let shared = try child.allocate(size: page), held = try child.allocate(size: page), lost = try child.allocate(size: page)
        for (value, address) in [named, shared, held, lost].enumerated() { bench.set(address, value + 1, of: child) }
        try bench.store.commit()
        let here = try task.remap(size: page, source: child, sourceAddress: shared).address
        let entry = try child.makeMemoryEntry(address: held, size: page, permission: .read)
        let nameless = try bench.store.objects().count { $0.name.isEmpty }
        try child.terminate()
        try bench.store.commit()
        #expect(try bench.store.objects().count { $0.name.isEmpty } == nameless - 1)
        #expect(bench.word(here) == 2)
        #expect(bench.word(try task.map(size: page, object: entry, current: .read, maximum: .read)) == 3)
        #expect(try bench.store.mapState(.init(name: "named")).withBytes { $0.load(as: Int.self) } == 1)
        try bench.store.close()
    }

    @Test func abandoningATerminationBringsTheTaskBack() throws {
        let child = try task.createChild(named: "child")
        let address = try child.allocate(size: page)
        bench.set(address, 7, of: child)
        try bench.store.commit()
        try child.terminate()
        let second = try bench.store.task(named: "child")
        try second.allocate(size: 3 * page)
        try bench.store.abandon()
        // The name is the first one's again.
        #expect(second.isTerminated)
        let back = try bench.store.task(named: "child")
        #expect(back.windowBase + (address - back.windowBase) == address && back.entries.count == 1)
        #expect(bench.word(address, of: back) == 7)
        try bench.store.commit()
        try bench.store.close()
        let again = try bench.fixture.open()
        #expect(bench.word(address, of: try again.task(named: "child")) == 7)
        #expect(try again.verify { _ in }.findings == 0)
        try again.close()
    }

    /// A task whose termination was abandoned needs its memory, attached or not.
    @Test func memoryOfATaskThatCameBackIsNotDeleted() throws {
        let address = try task.map(size: page, inheritance: .share)
        bench.set(address, 7)
        let child = try task.createChild(named: "child")
        let other = try task.allocate(size: page)
        try bench.store.commit()
        try child.terminate()
        // Looks for memory that tasks without a handle need.
        try task.deallocate(address: other, size: page)
        try bench.store.abandon()
        try task.deallocate(address: address, size: page)
        try bench.store.commit()
        let back = try bench.store.task(named: "child")
        #expect(bench.word(there(address, back), of: back) == 7)
        try bench.store.close()
    }

    /// A region that is pinned in part is one row of the catalog, whose ends a later change must not take for others.
    @Test func changesBesidePinnedPagesKeepTheWholeMap() throws {
        let address = try task.allocate(size: 6 * page)
        bench.fill(address, [1, 2, 3, 4, 5, 6])
        try bench.store.commit()
        try task.wire(address: address, size: page, access: .read)
        try bench.store.commit()
        try task.inherit(address: address + 4 * page, size: page, .none)
        try bench.store.commit()
        try bench.store.close()
        let again = try bench.fixture.open()
        let attached = try again.task(named: "main")
        #expect(attached.entries.map(\.length) == [4 * page, page, page])
        #expect(bench.words(address, 6, of: attached) == [1, 2, 3, 4, 5, 6])
        try again.close()
    }

    // MARK: Memory entries

    @Test func entriesGiveNoMoreThanTheRegionOrTheParent() throws {
        try task.map(address: base, size: page, anywhere: false)
        try task.map(address: base + page, size: page, anywhere: false, current: .read, maximum: .read)
        for kind in [MemoryEntry.Kind.share, .copy] {
            #expect(try bench.refused { _ = try task.makeMemoryEntry(address: base, size: 2 * page, permission: .default, kind: kind) } == .protectionFailure)
            #expect(try bench.refused { _ = try task.makeMemoryEntry(address: base, size: 3 * page, permission: .read, kind: kind) } == .invalidAddress)
            #expect(try bench.refused { _ = try task.makeMemoryEntry(address: base, size: 0, permission: .read, kind: kind) } == .invalidArgument)
            #expect(try bench.refused { _ = try task.makeMemoryEntry(address: 0, size: 0, permission: Protection(rawValue: 8), kind: kind) } == .invalidArgument)
        }
        let parent = try task.makeMemoryEntry(address: base, size: 2 * page, permission: .read)
        #expect(parent.size == 2 * page)
        // Wider than the parent, before beyond its size.
        #expect(try bench.refused { _ = try task.makeMemoryEntry(address: 9 * page, size: page, permission: .default, parent: parent) } == .protectionFailure)
        for (address, size) in [(UInt64(0), 3 * page), (2 * page, page), (page + 1, page), (2 * page - 1, 2)] {
            #expect(try bench.refused { _ = try task.makeMemoryEntry(address: address, size: size, permission: .read, parent: parent) } == .invalidArgument)
        }
        #expect(bench.code { _ = try task.makeMemoryEntry(address: 0, size: 1 << 63, permission: .read, kind: .fresh) } == .resourceShortage)
        try bench.store.close()
    }

    @Test(arguments: MemoryEntry.Kind.allCases)
    func entriesShareCopyOrAreFresh(_ kind: MemoryEntry.Kind) throws {
        let address = try task.allocate(size: 3 * page)
        bench.fill(address, [1, 2, 3])
        let entry = try task.makeMemoryEntry(address: address + page, size: 2 * page, permission: .default, kind: kind)
        bench.set(address + page, 20)
        let view = try task.map(size: 2 * page, object: entry, current: .default, maximum: .default)
        let second = try task.map(size: page, object: entry, offset: page, current: .read, maximum: .read)
        bench.set(view + page, 30)
        #expect(bench.words(view, 2) == [[20, 30], [2, 30], [0, 30]][MemoryEntry.Kind.allCases.firstIndex(of: kind)!])
        #expect(bench.word(second) == 30 && bench.word(address + 2 * page) == (kind == .share ? 30 : 3))
        // A copy through the entry is of its memory now.
        let copy = try task.map(size: 2 * page, object: entry, copy: true)
        bench.set(view + page, 31)
        #expect(bench.word(copy + page) == 30)
        try bench.store.close()
    }
}
