import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// A call over a range of which a part fails has changed nothing: where the fault is a manager's, far into the range.
@Suite(.enabled(if: HostCapabilities.current.demandFaults, "needs a host that fills on demand"))
struct AllOrNothingTests {
    private let page = Bench.page
    private let pages: UInt64 = 600
    private let bench: Bench
    private var task: VMTask { bench.task }
    /// Plain memory of words 1…, and then one page that can't be had.
    private let address: UInt64
    private let object: ManagedObject

    init() throws {
        bench = try Bench()
        object = try bench.store.makeObject(size: Bench.page, manager: TestManager { try $0.fail("not now") })
        address = try bench.task.allocate(size: 600 * Bench.page)
        try bench.task.map(address: address + 600 * Bench.page, size: Bench.page, anywhere: false, object: object)
        bench.fill(address, Array(1...600))
        try bench.store.commit()
    }

    private func checkUnchanged() throws {
        #expect(bench.words(address, Int(pages)) == Array(1...Int(pages)))
        #expect(try !bench.store.hasUncommittedChanges())
        try bench.store.close()
    }

    @Test(arguments: [MemoryBehavior.free, .zero])
    func fillingIsAllOrNothing(_ behavior: MemoryBehavior) throws {
        #expect(try bench.refused { try task.setBehavior(address: address, size: (pages + 1) * page, behavior) } == .memoryError)
        try checkUnchanged()
    }

    @Test func writingAndCopyingAreAllOrNothing() throws {
        let bytes = [UInt8](repeating: 9, count: Int((pages + 1) * page))
        #expect(try bench.refused { try bytes.withUnsafeBytes { try task.write(address: address, $0) } } == .memoryError)
        let source = try task.allocate(size: (pages + 1) * page)
        try bench.store.commit()
        #expect(try bench.refused { try task.copy(source: source, size: (pages + 1) * page, destination: address) } == .memoryError)
        #expect(try bench.refused { try task.copy(source: address, size: (pages + 1) * page, destination: source) } == .memoryError)
        #expect(bench.words(source, Int(pages)).allSatisfy { $0 == 0 })
        try checkUnchanged()
    }

    @Test func readingLeavesTheOutputUntouched() throws {
        var bytes = [UInt8](repeating: 77, count: Int((pages + 1) * page))
        let code = try bytes.withUnsafeMutableBytes { buffer in
            try bench.refused { try task.readOverwrite(address: address, size: (pages + 1) * page, into: buffer.baseAddress!) }
        }
        #expect(code == .memoryError && bytes.allSatisfy { $0 == 77 })
        try checkUnchanged()
    }

    @Test func wiringIsAllOrNothing() throws {
        #expect(try bench.refused { try task.wire(address: address, size: (pages + 1) * page, access: .read) } == .memoryError)
        #expect(task.entries.allSatisfy { $0.wiredCount == 0 })
        try checkUnchanged()
    }

    /// The copy of the plain memory is made before the manager fails: nothing is left of it.
    @Test func copiesAndChildrenAreMadeWhollyOrNotAtAll() throws {
        let objects = try bench.store.objects().count
        #expect(try bench.refused { try task.remap(size: (pages + 1) * page, source: task, sourceAddress: address, copy: true) } == .memoryError)
        #expect(
            try bench.refused { _ = try task.makeMemoryEntry(address: address, size: (pages + 1) * page, permission: .read, kind: .copy) }
                == .memoryError)
        #expect(try bench.refused { _ = try task.createChild(named: "child") } == .memoryError)
        #expect(try bench.store.objects().count == objects)
        #expect(try bench.store.taskNames() == ["main"])
        try bench.store.commit()
        #expect(try bench.store.objects().count == objects)
        // The name is free.
        try task.deallocate(address: address + pages * page, size: page)
        let child = try task.createChild(named: "child")
        #expect(bench.words(address - task.windowBase + child.windowBase, Int(pages), of: child) == Array(1...Int(pages)))
        try bench.store.close()
    }
}
