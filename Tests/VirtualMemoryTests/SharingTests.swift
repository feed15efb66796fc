import Glibc
import TestSupport
import Testing
import Varve

@testable import VirtualMemory

/// One object in several places, copies, children, memory entries.
@Suite struct SharingTests {
    let fixture = StoreFixture()
    let store: Store
    let task: VMTask

    init() throws {
        try fixture.create()
        store = try fixture.open()
        task = try store.task(named: "main")
    }

    private func word(_ task: VMTask, _ address: UInt64) -> Int { task.pointer(address).load(as: Int.self) }
    private func set(_ task: VMTask, _ address: UInt64, _ value: Int) {
        task.pointer(address).storeBytes(of: value, as: Int.self)
    }

    private func code(_ body: () throws -> Void) -> KernReturn {
        do {
            try body()
            return .success
        } catch let error as VMError { return error.code } catch {
            Issue.record("\(error)")
            return .failure
        }
    }

    @Test func mappingsOfOneObjectSeeEachOther() throws {
        let object = try store.createObject(named: "a", size: 8 * 4096)
        let other = try store.task(named: "other")
        let first = try task.map(size: 8 * 4096, object: object)
        let second = try task.map(size: 4 * 4096, object: object, offset: 2 * 4096)
        let third = try other.map(size: 8 * 4096, object: object)
        set(task, first + 3 * 4096, 7)
        #expect(word(task, second + 4096) == 7 && word(other, third + 3 * 4096) == 7)
        set(task, second, 8)
        set(other, third + 7 * 4096, 9)
        #expect(word(task, first + 2 * 4096) == 8 && word(task, first + 7 * 4096) == 9)
        try store.commit()
        try store.close()
        let again = try fixture.open()
        let attached = try again.task(named: "main")
        #expect(word(attached, first + 3 * 4096) == 7 && word(attached, second) == 8 && word(attached, first + 7 * 4096) == 9)
        try again.close()
    }

    @Test func cuttingAMappingLeavesTheRest() throws {
        let object = try store.createObject(named: "a", size: 8 * 4096)
        let address = try task.map(size: 8 * 4096, object: object)
        for page in 0..<8 { set(task, address + UInt64(page * 4096), page + 1) }
        try task.deallocate(address: address + 2 * 4096, size: 3 * 4096)
        #expect(task.entries.count == 2)
        set(task, address + 6 * 4096, 70)
        // The hole is free for others.
        let hole = try task.map(address: address + 2 * 4096, size: 4096, anywhere: false)
        set(task, hole, 5)
        try store.commit()
        let bytes = try store.mapState(.init(name: "a")).withBytes { bytes in
            (0..<8).map { bytes.load(fromByteOffset: $0 * 4096, as: Int.self) }
        }
        #expect(bytes == [1, 2, 3, 4, 5, 6, 70, 8])
        try store.close()
        let again = try fixture.open()
        let attached = try again.task(named: "main")
        #expect(word(attached, hole) == 5 && word(attached, address + 6 * 4096) == 70 && word(attached, address) == 1)
        try again.close()
    }

    @Test func abandoningUndoesMapsAndBytes() throws {
        let object = try store.createObject(named: "a", size: 8 * 4096)
        let address = try task.map(size: 8 * 4096, object: object)
        for page in 0..<8 { set(task, address + UInt64(page * 4096), page + 1) }
        let plain = try task.allocate(size: 4 * 4096)
        set(task, plain + 4096, 11)
        try store.commit()
        let before = task.entries
        set(task, address, 99)
        try task.deallocate(address: address + 4096, size: 4096)
        try task.deallocate(address: plain, size: 2 * 4096)
        let second = try task.map(address: plain, size: 4096, anywhere: false, object: object)
        set(task, second + 8, 5)
        let extra = try task.allocate(size: 4096)
        set(task, extra, 1)
        try task.protect(address: address + 5 * 4096, size: 4096, .read)
        try store.abandon()
        #expect(task.entries == before)
        for page in 0..<8 { #expect(word(task, address + UInt64(page * 4096)) == page + 1) }
        #expect(word(task, plain) == 0 && word(task, plain + 4096) == 11)
        set(task, address + 5 * 4096, 6)
        #expect(try !store.hasUncommittedChanges())
        try store.close()
    }

    @Test func copiesAndTheirSourcesDoNotSeeEachOther() throws {
        let object = try store.createObject(named: "a", size: 64 * 4096)
        let address = try task.map(size: 64 * 4096, object: object)
        for page in 0..<64 { set(task, address + UInt64(page * 4096), page + 1) }
        try store.commit()
        set(task, address, 100)
        let copy = try task.map(size: 64 * 4096, object: object, copy: true)
        set(task, address + 4096, 200)
        set(task, copy + 2 * 4096, 300)
        // A copy of the uncommitted copy.
        let second = try task.remap(size: 64 * 4096, source: task, sourceAddress: copy, copy: true).address
        set(task, copy + 3 * 4096, 400)
        func state(_ base: UInt64) -> [Int] { (0..<5).map { word(task, base + UInt64($0 * 4096)) } }
        let wanted = [[100, 200, 3, 4, 5], [100, 2, 300, 400, 5], [100, 2, 300, 4, 5]]
        #expect([address, copy, second].map(state) == wanted)
        try store.commit()
        #expect([address, copy, second].map(state) == wanted)
        set(task, address + 4 * 4096, 500)
        try store.commit()
        try store.close()
        let again = try fixture.open()
        let attached = try again.task(named: "main")
        func state2(_ base: UInt64) -> [Int] { (0..<5).map { word(attached, base + UInt64($0 * 4096)) } }
        #expect([address, copy, second].map(state2) == [[100, 200, 3, 4, 500], wanted[1], wanted[2]])
        #expect(try again.verify { _ in }.findings == 0)
        try again.close()
    }

    @Test func childrenReceiveWhatInheritanceSays() throws {
        let shared = try task.allocate(size: 4 * 4096)
        let copied = try task.allocate(size: 4 * 4096)
        let absent = try task.allocate(size: 4 * 4096)
        try task.inherit(address: shared, size: 4 * 4096, .share)
        try task.inherit(address: absent, size: 4 * 4096, .none)
        for base in [shared, copied, absent] { set(task, base, 1) }
        try store.commit()
        set(task, copied + 4096, 2)
        let child = try task.createChild(named: "child")
        func there(_ address: UInt64) -> UInt64 { address - task.windowBase + child.windowBase }
        #expect(child.entries.map(\.start) == [there(shared), there(copied)])
        #expect(child.entries.map(\.inheritance) == [.share, .copy])
        set(task, shared, 10)
        set(child, there(shared) + 4096, 11)
        set(task, copied, 20)
        set(child, there(copied) + 8, 21)
        #expect(word(child, there(shared)) == 10 && word(task, shared + 4096) == 11)
        #expect(word(child, there(copied)) == 1 && word(child, there(copied) + 4096) == 2 && word(task, copied + 8) == 0)
        try store.commit()
        try store.close()

        let again = try fixture.open()
        // The child alone first: the shared memory must not end with the parent's regions.
        let son = try again.task(named: "child")
        #expect(word(son, there(shared)) == 10 && word(son, there(shared) + 4096) == 11 && word(son, there(copied) + 8) == 21)
        let parent = try again.task(named: "main")
        set(parent, shared, 30)
        #expect(word(son, there(shared)) == 30)
        try parent.terminate()
        #expect(code { try parent.allocate(size: 4096) } == .terminated)
        #expect(word(son, there(shared)) == 30)
        try again.commit()
        try again.close()

        let last = try fixture.open()
        #expect(word(try last.task(named: "child"), there(shared)) == 30)
        #expect(try last.task(named: "main").entries.isEmpty)
        #expect(try last.verify { _ in }.findings == 0)
        try last.close()
    }

    @Test func sharedMemoryOutlivesAnUnattachedTask() throws {
        let address = try task.allocate(size: 4096)
        try task.inherit(address: address, size: 4096, .share)
        set(task, address, 3)
        let child = try task.createChild(named: "child")
        let there = address - task.windowBase + child.windowBase
        try store.commit()
        try store.close()
        let again = try fixture.open()
        let parent = try again.task(named: "main")
        try parent.deallocate(address: address, size: 4096)
        try again.commit()
        #expect(word(try again.task(named: "child"), there) == 3)
        try again.close()
    }

    @Test func aNewTasksWindowPassesOverWhatTheProcessHas() throws {
        let next = task.windowBase + task.windowSize
        let noReplace: Int32 = 0x100000
        let taken = mmap(
            UnsafeMutableRawPointer(bitPattern: UInt(next) + 4096), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | noReplace, -1, 0)
        defer { munmap(taken, 4096) }
        #expect(try store.task(named: "second").windowBase == next + task.windowSize)
        try store.close()
    }

    @Test func whatEndsWithTheNextCommitIsNotChangedBefore() throws {
        let address = try task.allocate(size: 4096)
        set(task, address, 1)
        try store.commit()
        let id = try #require(try task.region(address).object)
        try task.deallocate(address: address, size: 4096)
        #expect { try store.deleteObject("\(id)") } throws: { ($0 as? StoreError)?.code == .busy }
        #expect { try store.renameObject("\(id)", to: "keep") } throws: { ($0 as? StoreError)?.code == .busy }
        #expect { try store.resizeObject("\(id)", to: 0) } throws: { ($0 as? StoreError)?.code == .busy }
        try store.commit()
        #expect(try store.objects().isEmpty)
        try store.close()
    }

    /// Stores of earlier releases may have one: an object went although a saved task had a region of it.
    @Test func aDeadRegionLeavesTheOthersOfAPastTask() throws {
        let object = try store.createObject(named: "a", size: 4096)
        _ = try task.map(size: 4096, object: object)
        let plain = try task.allocate(size: 4096)
        set(task, plain, 7)
        try store.commit()
        try store.close()
        let again = try fixture.open()
        _ = try again.commitOperations([.deleteObject(id: object.id)], message: "")
        let past = try again.mapTask(named: "main", at: .head)
        #expect(past.pointer(plain).load(as: Int.self) == 7)
        let clone = try again.cloneTask(named: "main", at: .head, as: "clone")
        #expect(word(clone, plain - task.windowBase + clone.windowBase) == 7)
        try again.close()
    }

    @Test func memoryEntriesGiveFewerRights() throws {
        let address = try task.allocate(size: 4 * 4096)
        set(task, address + 4096, 5)
        let entry = try task.makeMemoryEntry(address: address + 4096, size: 4096 * 2, permission: .read)
        #expect(entry.size == 2 * 4096)
        #expect(code { try task.map(size: 4096, object: entry) } == .protectionFailure)
        let view = try task.map(size: 2 * 4096, object: entry, current: .read, maximum: .read)
        set(task, address + 2 * 4096, 6)
        #expect(word(task, view) == 5 && word(task, view + 4096) == 6)
        #expect(code { try task.map(size: 3 * 4096, object: entry, current: .read, maximum: .read) } == .invalidArgument)
        #expect(code { _ = try task.makeMemoryEntry(address: 0, size: 4096, permission: .default, parent: entry) } == .protectionFailure)
        #expect(code { _ = try task.makeMemoryEntry(address: 4096, size: 2 * 4096, permission: .read, parent: entry) } == .invalidArgument)
        let child = try task.makeMemoryEntry(address: 4096, size: 4096, permission: .read, parent: entry)
        try task.deallocate(address: view, size: 2 * 4096)
        try task.deallocate(address: address, size: 4 * 4096)
        // The entry keeps its memory.
        let kept = try task.map(size: 4096, object: child, current: .read, maximum: .read)
        #expect(word(task, kept) == 6)
        #expect(code { _ = try task.makeMemoryEntry(address: address + 8192, size: 4096, permission: .read) } == .invalidAddress)
        try store.close()
    }

    @Test func bytesMoveAcrossTasks() throws {
        let address = try task.allocate(size: 4 * 4096)
        try Array(repeating: UInt8(7), count: 100).withUnsafeBytes { try task.write(address: address + 4090, $0) }
        #expect(try task.read(address: address + 4089, size: 102) == [0] + Array(repeating: 7, count: 100) + [0])
        try task.copy(source: address + 4090, size: 100, destination: address + 4095)
        #expect(try task.read(address: address + 4089, size: 107) == [0] + Array(repeating: 7, count: 105) + [0])
        try task.protect(address: address + 2 * 4096, size: 4096, .none)
        #expect(code { _ = try task.read(address: address, size: 3 * 4096) } == .protectionFailure)
        #expect(code { _ = try task.read(address: address, size: 5 * 4096) } == .protectionFailure)
        #expect(code { _ = try task.read(address: address + 3 * 4096, size: 4097) } == .invalidAddress)
        let object = try store.createObject(named: "short", size: 100)
        let short = try task.map(size: 2 * 4096, object: object)
        #expect(code { _ = try task.read(address: short, size: 4097) } == .memoryError)
        #expect(try task.read(address: short, size: 4096).count == 4096)
        try store.commit()
        try store.close()
    }

    @Test func syncCommitsAndInvalidateDrops() throws {
        let address = try task.allocate(size: 2 * 4096)
        set(task, address, 1)
        try task.sync(address: address, size: 8, .synchronous)
        #expect(try !store.hasUncommittedChanges())
        set(task, address, 2)
        set(task, address + 4096, 3)
        try task.sync(address: address, size: 8, .invalidate)
        #expect(word(task, address) == 1 && word(task, address + 4096) == 3)
        #expect(code { try task.sync(address: address, size: 8, [.synchronous, .asynchronous]) } == .invalidArgument)
        #expect(code { try task.sync(address: address, size: 3 * 4096, [.synchronous, .contiguous]) } == .invalidAddress)
        try store.close()
    }

    @Test func behavioursChangeNoByteButFreeAndZero() throws {
        let address = try task.allocate(size: 3 * 4096)
        for page in 0..<3 { set(task, address + UInt64(page * 4096), page + 1) }
        for behavior in MemoryBehavior.allCases where !behavior.changesBytes {
            try task.setBehavior(address: address, size: 3 * 4096, behavior)
        }
        for page in 0..<3 { #expect(word(task, address + UInt64(page * 4096)) == page + 1) }
        try task.setBehavior(address: address, size: 4096, .free)
        try task.setBehavior(address: address + 4096, size: 1, .zero)
        #expect(word(task, address) == 0 && word(task, address + 4096) == 0 && word(task, address + 2 * 4096) == 3)
        #expect(try task.region(address).dirtyPages == 3)
        try store.close()
    }

    @Test func wiringIsCounted() throws {
        let address = try task.allocate(size: 3 * 4096)
        try task.wire(address: address, size: 4096, access: .read)
        try task.wire(address: address, size: 4096, access: .read)
        #expect(try task.region(address).wiredCount == 2)
        try task.wire(address: address, size: 4096, access: .none)
        try task.wire(address: address, size: 4096, access: .none)
        #expect(code { try task.wire(address: address, size: 4096, access: .none) } == .invalidArgument)
        try store.close()
    }
}

/// Tasks of the past.
@Suite struct PastTaskTests {
    @Test func aSnapshotsTaskIsMappedReadOnlyOrCloned() throws {
        let fixture = StoreFixture()
        try fixture.create()
        let store = try fixture.open()
        let task = try store.task(named: "main")
        let object = try store.createObject(named: "a", size: 8 * 4096)
        let first = try task.map(size: 8 * 4096, object: object)
        let second = try task.map(size: 8 * 4096, object: object)
        let plain = try task.allocate(size: 4096)
        for page in 0..<8 { task.pointer(first + UInt64(page * 4096)).storeBytes(of: page + 1, as: Int.self) }
        task.pointer(plain).storeBytes(of: 50, as: Int.self)
        try store.commit(snapshot: "before")
        task.pointer(first).storeBytes(of: 100, as: Int.self)
        try task.deallocate(address: plain, size: 4096)
        try task.protect(address: second, size: 4096, .read)
        try store.commit()

        let regions = try store.regions(ofTask: "main", at: .snapshot("before"))
        #expect(regions.map(\.start) == [first, second, plain] && regions.map(\.objectName) == ["a", "a", ""])
        #expect(try store.regions(ofTask: "main").count == 3)

        // The live task has the addresses: the past one lies beside it.
        let past = try store.mapTask(named: "main", at: .snapshot("before"))
        #expect(past.shift != 0)
        #expect(past.pointer(first).load(as: Int.self) == 1 && past.pointer(second + 7 * 4096).load(as: Int.self) == 8)
        #expect(past.pointer(plain).load(as: Int.self) == 50)

        let clone = try store.cloneTask(named: "main", at: .snapshot("before"), as: "again")
        func there(_ address: UInt64) -> UnsafeMutableRawPointer {
            clone.pointer(address - task.windowBase + clone.windowBase)
        }
        #expect(there(first).load(as: Int.self) == 1 && there(plain).load(as: Int.self) == 50)
        there(first + 4096).storeBytes(of: 200, as: Int.self)
        #expect(there(second + 4096).load(as: Int.self) == 200)
        #expect(task.pointer(first + 4096).load(as: Int.self) == 2)
        try store.commit()
        try store.close()

        let again = try fixture.open()
        let reborn = try again.task(named: "again")
        #expect(reborn.pointer(first - task.windowBase + reborn.windowBase + 4096).load(as: Int.self) == 200)
        // Nobody has the window now.
        let old = try again.mapTask(named: "main", at: .snapshot("before"))
        #expect(old.shift == 0 && old.pointer(plain).load(as: Int.self) == 50)
        #expect(throws: StoreError.self) { try again.cloneTask(named: "main", at: .snapshot("before"), as: "again") }
        #expect(throws: StoreError.self) { try again.mapTask(named: "nobody", at: .head) }
        try again.close()
    }
}
