import Foundation
import TestSupport
import Testing
import Varve

/// The copy guarantee: after a copy has returned, nothing changes a byte it reads.
@Suite struct SemanticsCopyTests {
    let fixture = StoreFixture()
    let page: UInt64 = 4096

    private func words(_ task: VMTask, _ address: UInt64, _ count: Int) -> [Int] {
        (0..<UInt64(count)).map { task.pointer(address + $0 * page).load(as: Int.self) }
    }

    private func fill(_ task: VMTask, _ address: UInt64, _ values: some Sequence<Int>) {
        for (index, value) in values.enumerated() { task.pointer(address + UInt64(index) * page).storeBytes(of: value, as: Int.self) }
    }

    @Test(arguments: everyMode, [Residency.shared, .exclusive])
    func noEventInTheStoreChangesACopy(_ options: Store.OpenOptions, _ residency: Residency) throws {
        try fixture.create()
        var store = try fixture.open(options)
        var task = try store.task(named: "main")
        let object = try store.createObject(named: "a", size: 64 * page, residency: residency)
        let source = try task.map(size: 64 * page, object: object)
        fill(task, source, 1...64)
        try store.commit()
        fill(task, source, 1001...1016)
        let wanted = Array(1001...1016) + Array(17...64)
        let copies = try (0..<2).map { _ in try task.map(size: 64 * page, object: object, copy: true, inheritance: .none) }
        func check(_ event: String) {
            for copy in copies { #expect(words(task, copy, 64) == wanted, "\(event)") }
        }
        if residency == .shared {
            let second = try task.map(size: 64 * page, object: object)
            fill(task, second + 8 * page, 2001...2020)
            check("writes through another mapping")
            try task.deallocate(address: second, size: 64 * page)
        }
        fill(task, source, 3001...3064)
        check("writes")
        try store.commit()
        fill(task, source, 4001...4064)
        for copy in copies {
            try task.setBehavior(address: copy, size: 64 * page, .pageOut)
            try task.sync(address: copy, size: 64 * page, .deactivate)
        }
        check("memory pressure")
        for round in 0..<12 {
            fill(task, source, 5000 + round..<5064 + round)
            try store.commit()
        }
        _ = try store.reclaim()
        _ = try store.optimize(nil)
        check("reclaim and merging")
        try task.deallocate(address: source, size: 64 * page)
        try store.commit()
        try store.resizeObject("a", to: 3 * page + 5)
        try store.deleteObject("a")
        _ = try store.reclaim()
        check("the end of the source")
        try store.close()
        store = try fixture.open(options)
        task = try store.task(named: "main")
        check("reopening")
        _ = try store.reclaim()
        check("reclaim after reopening")
        #expect(try store.verify { _ in }.findings == 0)
        try store.close()
    }

    @Test func acknowledgedCopiesSurviveAKill() async throws {
        try fixture.create()
        let path = fixture.path
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            quietEnd()
            let store = try Store.open(path)
            let task = try store.task(named: "main")
            let object = try store.createObject(named: "a", size: 8 * 4096)
            let source = try task.map(size: 8 * 4096, object: object)
            for page in 0..<8 { task.pointer(source + UInt64(page) * 4096).storeBytes(of: page + 1, as: Int.self) }
            try task.map(address: task.windowBase + 1 << 20, size: 8 * 4096, anywhere: false, object: object, copy: true)
            try store.commit()
            for page in 0..<8 { task.pointer(source + UInt64(page) * 4096).storeBytes(of: 100, as: Int.self) }
            try store.commit()
            kill(getpid(), SIGKILL)
        }
        let store = try fixture.open()
        let task = try store.task(named: "main")
        #expect(words(task, task.windowBase + 1 << 20, 8) == Array(1...8))
        try store.close()
    }

    /// What happens to a host file after it was imported is no business of the store's.
    @Test(arguments: HostFileEvent.allCases)
    func noEventOnAnImportedHostFileChangesIt(_ event: HostFileEvent) throws {
        try fixture.create()
        let store = try fixture.open()
        let task = try store.task(named: "main")
        let file = fixture.folder.path + "/host"
        let bytes = Data((0..<64 * 4096).map { UInt8(truncatingIfNeeded: $0 / 4096 + 1) })
        try bytes.write(to: URL(fileURLWithPath: file))
        let object = try store.importFile(file, named: "file").object
        let shared = try task.map(size: 64 * page, object: object, current: .read)
        let copy = try task.map(size: 64 * page, object: object, copy: true)
        try event.happen(to: file)
        for address in [shared, copy] { #expect(Data(try task.read(address: address, size: 64 * page)) == bytes) }
        try store.commit()
        _ = try store.reclaim()
        for address in [shared, copy] { #expect(Data(try task.read(address: address, size: 64 * page)) == bytes) }
        try store.close()
    }

    /// Each generation is a copy of the one before, which ends: contents are exact, and nothing grows with their number.
    @Test func aLongChainOfChildrenCostsNoMoreThanAShortOne() throws {
        try Store.create(fixture.path, options: .init(ringBytes: 1 << 20, windowBase: StoreFixture.modelWindowBase))
        var store = try fixture.open()
        var task = try store.task(named: "g0")
        let offset: UInt64 = 16 * page
        try task.map(address: task.windowBase + offset, size: 32 * page, anywhere: false)
        fill(task, task.windowBase + offset, 1...32)
        var wanted = Array(1...32)
        try store.commit()
        let generations = Budget.of(quick: 60, default: 200, full: 400)
        var leases: [Int] = [], objects: [Int] = []
        for generation in 1...generations {
            let child = try task.createChild(named: "g\(generation)")
            try task.terminate()
            task = child
            let index = generation % 32
            wanted[index] = generation * 100
            task.pointer(task.windowBase + offset + UInt64(index) * page).storeBytes(of: generation * 100, as: Int.self)
            try store.commit(durability: .deferred)
            #expect(task.entries.count == 1)
            if generation % 20 == 0 {
                #expect(words(task, task.windowBase + offset, 32) == wanted)
                try store.flush()
                leases.append(try store.leases().count)
                objects.append(try store.objects().count)
            }
            if generation % 50 == 0 {
                _ = try store.reclaim()
                try store.close()
                store = try fixture.open()
                task = try store.task(named: "g\(generation)")
                #expect(words(task, task.windowBase + offset, 32) == wanted)
            }
        }
        #expect(leases.allSatisfy { $0 <= leases[0] + 2 }, "leases: \(leases)")
        #expect(objects.allSatisfy { $0 == 1 }, "objects: \(objects)")
        #expect(words(task, task.windowBase + offset, 32) == wanted)
        #expect(try store.verify { _ in }.findings == 0)
        try store.close()
    }

    /// Windows of tasks that are no more are used again where none is left above.
    @Test func tasksThatAreNoMoreLeaveTheirAddresses() throws {
        try Store.create(fixture.path, options: .init(ringBytes: 1 << 20, windowBase: 0x6fd0_0000_0000))
        let store = try fixture.open()
        var task = try store.task(named: "g0")
        for generation in 1...12 {
            let child = try task.createChild(named: "g\(generation)")
            try task.terminate()
            try store.commit(durability: .deferred)
            task = child
        }
        try store.close()
    }
}
