import Foundation
import Glibc
import TestSupport
import Testing
import Varve

/// Swift hides fork; the tests call it by name.
private func forkProcess() -> pid_t {
    typealias Fork = @convention(c) () -> pid_t
    return unsafeBitCast(dlsym(nil, "fork")!, to: Fork.self)()
}

/// Runs `body` in a forked child; its exit status, or minus the signal that ended it.
private func inForkedChild(_ body: () -> Int32) -> Int32 {
    let child = forkProcess()
    if child == 0 {
        // Threads of a pool block the alarm.
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        alarm(20)
        _exit(body())
    }
    return status(of: child)
}

private func status(of child: pid_t) -> Int32 {
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f)
}

/// What a forked child gets of regions, as their inheritance says.
@Suite struct ForkTests {
    /// A mode, by its place in `everyMode`, so that an exit test's process can find it.
    static let modes = Array(everyMode.indices)
    private static let pages = 100

    /// A committed object of `pages` pages, reopened so that nothing of it is in memory, with page 1 changed since.
    private static func reopened(_ fixture: StoreFixture, _ mode: Int, _ residency: Residency, named: Bool = true) throws
        -> (store: Store, task: VMTask, address: UInt64)
    {
        try fixture.create()
        var store = try fixture.open(everyMode[mode])
        var task = try store.task(named: "main")
        let size = UInt64(pages * 4096)
        let address = named
            ? try task.map(size: size, object: try store.createObject(named: "a", size: size, residency: residency))
            : try task.allocate(size: size)
        for page in 0..<pages { task.pointer(address + UInt64(page * 4096)).storeBytes(of: page + 1000, as: Int.self) }
        try store.commit()
        try store.close()
        store = try fixture.open(everyMode[mode])
        task = try store.task(named: "main")
        task.pointer(address + 4096).storeBytes(of: 5, as: Int.self)
        return (store, task, address)
    }

    private static func value(_ task: VMTask, _ address: UInt64, _ page: Int) -> Int {
        task.pointer(address + UInt64(page * 4096)).load(as: Int.self)
    }

    @Test(.timeLimit(.minutes(5)), arguments: modes, [0, 1, 2])
    func aCopyIsTheMemoryAtTheForkAndOfNeitherSidesLaterStores(_ mode: Int, _ kind: Int) async throws {
        await #expect(processExitsWith: .success) { [mode = mode as Int, kind = kind as Int] in
            quietEnd()
            let fixture = StoreFixture()
            let (store, task, address) = try ForkTests.reopened(fixture, mode, kind == 0 ? .exclusive : .shared, named: kind < 2)
            var pipes: [Int32] = [0, 0]
            pipe(&pipes)
            let child = forkProcess()
            if child == 0 {
                alarm(20)
                var byte: UInt8 = 0
                _ = read(pipes[0], &byte, 1)
                for page in 0..<ForkTests.pages where ForkTests.value(task, address, page) != (page == 1 ? 5 : page + 1000) {
                    _exit(Int32(page) + 1)
                }
                for page in 0..<ForkTests.pages { task.pointer(address + UInt64(page * 4096)).storeBytes(of: -1, as: Int.self) }
                _exit(0)
            }
            task.pointer(address + 2 * 4096).storeBytes(of: 6, as: Int.self)
            task.pointer(address + 4096).storeBytes(of: 7, as: Int.self)
            _ = write(pipes[1], "x", 1)
            #expect(status(of: child) == 0)
            let expected = (0..<ForkTests.pages).map { $0 == 1 ? 7 : $0 == 2 ? 6 : $0 + 1000 }
            #expect((0..<ForkTests.pages).map { ForkTests.value(task, address, $0) } == expected)
            try store.commit()
            #expect(try store.log(limit: 1).first?.pages == 2)
            try store.close()
        }
    }

    @Test(.timeLimit(.minutes(5)), arguments: modes, [true, false])
    func aSharedRegionIsSharedAndCommitsHoldWhatTheChildStored(_ mode: Int, _ named: Bool) async throws {
        await #expect(processExitsWith: .success) { [mode = mode as Int, named = named as Bool] in
            quietEnd()
            let fixture = StoreFixture()
            let (store, task, address) = try ForkTests.reopened(fixture, mode, .shared, named: named)
            try task.inherit(address: address, size: UInt64(ForkTests.pages * 4096), .share)
            try store.commit()
            let child = forkProcess()
            if child == 0 {
                alarm(20)
                while ForkTests.value(task, address, 2) != 6 { usleep(1000) }
                for page in 0..<ForkTests.pages where page != 2 && ForkTests.value(task, address, page) != (page == 1 ? 5 : page + 1000) {
                    _exit(1)
                }
                task.pointer(address + 50 * 4096).storeBytes(of: 8, as: Int.self)
                while ForkTests.value(task, address, 2) != 9 { usleep(1000) }
                // The last, at the very end.
                task.pointer(address + 51 * 4096).storeBytes(of: 10, as: Int.self)
                _exit(0)
            }
            task.pointer(address + 2 * 4096).storeBytes(of: 6, as: Int.self)
            while ForkTests.value(task, address, 50) != 8 { usleep(1000) }
            try store.commit()
            #expect(try store.log(limit: 1).first?.pages == 2)
            task.pointer(address + 2 * 4096).storeBytes(of: 9, as: Int.self)
            #expect(status(of: child) == 0)
            try store.commit()
            #expect(try store.log(limit: 1).first?.pages == 2)
            #expect(try !store.hasUncommittedChanges())
            try store.close()
            let again = try fixture.open(everyMode[mode])
            let same = try again.task(named: "main")
            #expect([2, 50, 51, 52].map { ForkTests.value(same, address, $0) } == [9, 8, 10, 1052])
            try again.close()
        }
    }

    @Test(.timeLimit(.minutes(5)), arguments: modes)
    func whatIsNotInheritedIsAbsent(_ mode: Int) async throws {
        await #expect(processExitsWith: .success) { [mode = mode as Int] in
            quietEnd()
            let fixture = StoreFixture()
            let (store, task, address) = try ForkTests.reopened(fixture, mode, .shared)
            let size = UInt64(ForkTests.pages * 4096)
            let heap = try task.map(size: size, object: try store.createObject(named: "heap", size: size, residency: .exclusive))
            try task.inherit(address: address, size: 4096, .none)
            try task.inherit(address: heap, size: size, .none)
            #expect(inForkedChild { Int32(ForkTests.value(task, address, 0)) } == -SIGSEGV)
            #expect(inForkedChild { Int32(ForkTests.value(task, heap, 0)) } == -SIGSEGV)
            #expect(inForkedChild { ForkTests.value(task, address, 1) == 5 ? 3 : 4 } == 3)
            // Private memory can't be shared with another process.
            try task.inherit(address: heap, size: size, .share)
            #expect(inForkedChild { Int32(ForkTests.value(task, heap, 0)) } == -SIGSEGV)
            try store.close()
        }
    }

    @Test(.timeLimit(.minutes(5)), arguments: modes)
    func protectionsHoldInTheChild(_ mode: Int) async throws {
        await #expect(processExitsWith: .success) { [mode = mode as Int] in
            quietEnd()
            let fixture = StoreFixture()
            let (store, task, address) = try ForkTests.reopened(fixture, mode, .shared)
            try task.inherit(address: address + 50 * 4096, size: 50 * 4096, .share)
            for page in [10, 60] { try task.protect(address: address + UInt64(page * 4096), size: 4096, .read) }
            for page in [10, 60] {
                #expect(inForkedChild { Int32(truncatingIfNeeded: ForkTests.value(task, address, page) - page) & 0x7f } == 1000 & 0x7f)
                #expect(inForkedChild {
                    task.pointer(address + UInt64(page * 4096)).storeBytes(of: 1, as: Int.self)
                    return 0
                } == -SIGSEGV)
                #expect(inForkedChild {
                    task.pointer(address + UInt64(page * 4096 + 4096)).storeBytes(of: 1, as: Int.self)
                    return 0
                } == 0)
            }
            #expect(ForkTests.value(task, address, 11) == 1011 && ForkTests.value(task, address, 61) == 1)
            try store.close()
        }
    }

    @Test(.timeLimit(.minutes(5)), arguments: modes)
    func callsFromTheChildAreClearErrorsAndTheParentGoesOn(_ mode: Int) async throws {
        await #expect(processExitsWith: .success) { [mode = mode as Int] in
            quietEnd()
            let fixture = StoreFixture()
            let (store, task, address) = try ForkTests.reopened(fixture, mode, .shared)
            let state = try store.mapState(.init(name: "a"))
            func code(_ body: () throws -> Void) -> Bool {
                do { try body() } catch let error as StoreError { return error.code == .wrongState } catch let error as VMError {
                    return error.code == .terminated
                } catch { return false }
                return false
            }
            // Threads that commit and settle all the while hold locks when the process forks. They begin before the first fork: a
            // type's first use takes a lock of the Swift runtime, which a child would wait for in vain.
            let ends = DispatchSemaphore(value: 0), ended = DispatchSemaphore(value: 0), begun = DispatchSemaphore(value: 0)
            Thread.detachNewThread {
                var round = 0
                while ends.wait(timeout: .now()) == .timedOut {
                    round += 1
                    task.pointer(address + 90 * 4096).storeBytes(of: round, as: Int.self)
                    try! store.commit()
                    if round == 100 { begun.signal() }
                }
                ended.signal()
            }
            begun.wait()
            _ = try store.reclaim()
            for _ in 0..<Budget.of(quick: 10, default: 50, full: 300) {
                let result = inForkedChild {
                    let calls: [() throws -> Void] = [
                        { try store.commit() }, { try store.abandon() }, { _ = try store.objects() }, { _ = try store.snapshots() },
                        { _ = try store.task(named: "main") }, { _ = try store.task(named: "other") }, { try store.createSnapshot("s") },
                        { _ = try store.log() }, { _ = try store.mapState(.init(name: "a")) }, { _ = try store.statistics() },
                        { try store.createObject(named: "b", size: 1) }, { try store.close() }, { try store.flush() },
                        { _ = try store.hasUncommittedChanges() }, { _ = try store.leases() }, { _ = try store.reclaim() },
                        { _ = try store.size(of: .init(name: "a")) }, { _ = try store.verify { _ in } },
                        { _ = try Store.open(fixture.path) }, { try store.backup(to: fixture.path + "-b") },
                        { _ = try task.allocate(size: 4096) }, { try task.deallocate(address: address, size: 4096) },
                        { try task.protect(address: address, size: 4096, .read) }, { _ = try task.region(0) },
                        { _ = try task.createChild(named: "c") }, { try task.terminate() },
                    ]
                    for (index, call) in calls.enumerated() where !code(call) { return Int32(index) + 1 }
                    task.touch(address: address, size: 4096)
                    _ = store.retention
                    withExtendedLifetime(state) {}
                    return 0
                }
                #expect(result == 0, "call \(result)")
            }
            ends.signal()
            ended.wait()
            try store.createSnapshot("after")
            let summary = try store.verify { _ in }
            _ = summary
            try store.close()
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func theChildKeepsItsMemoryAndNotTheWritersLockWhenTheParentIsGone() async throws {
        let fixture = StoreFixture()
        try fixture.create()
        let path: String = fixture.path
        // The grandchild waits until the parent is gone, then looks at what it inherited while another writer works.
        let folder = TemporaryFolder()
        let report: String = folder.path + "/report"
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, report = report as String] in
            quietEnd()
            let store = try Store.open(path)
            let task = try store.task(named: "main")
            let size: UInt64 = 512 * 4096
            let object = try store.createObject(named: "heap", size: size, residency: .exclusive)
            var address = try task.map(size: size, object: object)
            for page in 0..<512 { task.pointer(address + UInt64(page * 4096)).storeBytes(of: page + 1, as: Int.self) }
            try store.commit()
            try store.close()
            let again = try Store.open(path)
            let same = try again.task(named: "main")
            address = same.entries[0].start
            let parent = getpid()
            if forkProcess() == 0 {
                alarm(50)
                // What it is left does not depend on descriptors.
                for descriptor in 3..<Int32(1024) { close(descriptor) }
                while getppid() == parent { usleep(1000) }
                _ = FileManager.default.createFile(atPath: report + ".ready", contents: nil)
                while access(report + ".go", F_OK) != 0 { usleep(1000) }
                let wrong = (0..<512).filter { same.pointer(address + UInt64($0 * 4096)).load(as: Int.self) != $0 + 1 }
                try? "\(wrong)".write(toFile: report, atomically: true, encoding: .utf8)
                _exit(0)
            }
            kill(getpid(), SIGKILL)
        }
        for _ in 0..<20_000 where access(report + ".ready", F_OK) != 0 { usleep(1000) }
        // The lock is free although the child lives; what it shows is not reused.
        let store = try fixture.open()
        let task = try store.task(named: "main")
        let address = task.entries[0].start
        for round in 0..<6 {
            for page in 0..<512 { task.pointer(address + UInt64(page * 4096)).storeBytes(of: -round, as: Int.self) }
            try store.commit()
        }
        try store.setRetention(Retention(versions: 1, seconds: 0))
        try store.reclaim()
        try store.createObject(named: "other", size: 4096 * 4096)
        var pieces = 500
        try store.write("other", offset: 0) { () throws(StoreError) in
            pieces -= 1
            return pieces < 0 ? nil : [UInt8](repeating: 7, count: 4 * 4096)
        }
        _ = FileManager.default.createFile(atPath: report + ".go", contents: nil)
        for _ in 0..<20_000 where access(report, F_OK) != 0 { usleep(1000) }
        #expect(try String(contentsOfFile: report, encoding: .utf8) == "[]")
        try store.close()
    }
}
