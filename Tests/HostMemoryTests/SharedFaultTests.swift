import Glibc
import HostMemory
import Synchronization
import Testing
import VMTypes

@Suite("Accesses to shared memory that must not succeed")
struct SharedFaultTests {
    @Test("beyond the end is SIGBUS, also for a slice with neighbours", arguments: [false, true])
    func beyondEnd(inArena: Bool) async {
        await #expect(processExitsWith: .signal(SIGBUS)) { [inArena = inArena as Bool] in
            guardChild()
            let fixture = try SharedFixture(FakeProvider(("z", 20)), tested(false), inArena: inArena, mappings: 0)
            let mapping = try fixture.map(PageRange(start: 10, count: 30))
            mapping.store(1, 19)
            guard try mapping.take() == [19] else { exit(3) }
            mapping.store(1, 20)
        }
        await #expect(processExitsWith: .signal(SIGBUS)) { [inArena = inArena as Bool] in
            guardChild()
            let fixture = try SharedFixture(FakeProvider(("z", 20)), tested(false), inArena: inArena, mappings: 0)
            let mapping = try fixture.map(PageRange(start: 100, count: 3))
            guard try mapping.take().isEmpty else { exit(3) }
            _ = mapping.bytes(101)
        }
    }

    @Test("a read-only mapping takes no stores", arguments: DirtyTracking.allCases)
    func readOnly(tracking: DirtyTracking) async throws {
        let useSignal = tracking == .signal
        await #expect(processExitsWith: .signal(SIGSEGV)) { [useSignal = useSignal as Bool] in
            guardChild()
            let fixture = try SharedFixture(FakeProvider(("z", 20)), tested(useSignal))
            let reader = try fixture.map(protection: .read, writable: false)
            fixture.mappings[0].store(3, 5)
            guard reader.bytes(5)[100] == 3 else { exit(3) }
            reader.store(1, 5)
        }
        let fixture = try SharedFixture(FakeProvider(("z", 20)), tested(useSignal))
        let reader = try fixture.map(protection: .read, writable: false)
        #expect(throws: StoreError.self) { try reader.protect(PageRange(start: 0, count: 2), .default) }
    }

    @Test("stores that the protection forbids raise SIGSEGV, in this mapping alone", arguments: DirtyTracking.allCases)
    func storeProtected(tracking: DirtyTracking) async {
        let useSignal = tracking == .signal
        await #expect(processExitsWith: .signal(SIGSEGV)) { [useSignal = useSignal as Bool] in
            guardChild()
            let fixture = try SharedFixture(FakeProvider(("z", 40)), tested(useSignal), mappings: 2)
            fixture.mappings[0].store(1, 3)
            try fixture.mappings[0].protect(PageRange(start: 2, count: 3), .read)
            fixture.mappings[1].store(2, 4)
            guard try fixture.mappings[0].take() == [3], fixture.mappings[0].bytes(4)[100] == 2 else { exit(3) }
            fixture.mappings[0].store(1, 5)
            fixture.mappings[0].store(1, 4)
        }
    }

    @Test("loads that the protection forbids raise SIGSEGV", arguments: DirtyTracking.allCases)
    func loadProtected(tracking: DirtyTracking) async {
        let useSignal = tracking == .signal
        await #expect(processExitsWith: .signal(SIGSEGV)) { [useSignal = useSignal as Bool] in
            guardChild()
            let fixture = try SharedFixture(FakeProvider(("p", 40)), tested(useSignal))
            fixture.mappings[0].store(1, 3)
            try fixture.mappings[0].protect(PageRange(start: 2, count: 3), .none)
            guard try fixture.mappings[0].take() == [3], fixture.memory.bytes(3)[100] == 1 else { exit(3) }
            _ = fixture.mappings[0].bytes(3)
        }
    }

    @Test("a cut part can't be accessed", arguments: DirtyTracking.allCases)
    func cut(tracking: DirtyTracking) async {
        let useSignal = tracking == .signal
        await #expect(processExitsWith: .signal(SIGSEGV)) { [useSignal = useSignal as Bool] in
            guardChild()
            let fixture = try SharedFixture(FakeProvider(("p", 40)), tested(useSignal))
            let mapping = fixture.mappings[0]
            for page in 0..<40 { mapping.store(1, page) }
            var dirty: [PageRange] = []
            let rest = try mapping.unmap(PageRange(start: 10, count: 5), dirty: &dirty)
            guard dirty == [PageRange(start: 10, count: 5)], rest.map(\.pages.count) == [10, 25] else { exit(3) }
            guard try rest[0].take() == Array(0..<10), try rest[1].take() == Array(15..<40) else { exit(4) }
            do {
                _ = try mapping.take()
                exit(5)
            } catch let error as StoreError where error.code == .wrongState {}
            rest[0].store(1, 9)
            rest[1].store(1, 15)
            guard try rest[0].take() == [9], try rest[1].take() == [15] else { exit(6) }
            mapping.store(1, 12)
        }
    }

    @Test("a fill that fails raises SIGBUS; restoring mends it", arguments: Mode.all)
    func failingFill(mode: Mode) throws {
        let provider = FakeProvider(("p", 200))
        provider.state.withLock { _ = $0.broken.insert(77) }
        guard mode.demandFill else {
            #expect(throws: StoreError.self) { try SharedFixture(provider, mode) }
            return
        }
        let fixture = try SharedFixture(provider, mode, mappings: 2)
        let mapping = fixture.mappings[0]
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        mapping.store(1, 80)
        _ = try mapping.take()
        #expect(write(ends[1], mapping.pointer(toPage: 77), 1) == -1)
        #expect(write(ends[1], fixture.memory.pointer(toPage: 77), 1) == -1)
        #expect(fixture.memory.lastFillError?.code == .damaged)
        #expect(try mapping.take().isEmpty)
        #expect(mapping.bytes(78) == FakeProvider.pattern(78))
        #expect(throws: StoreError.self) { try fixture.memory.fill(PageRange(start: 0, count: 200)) }
        provider.state.withLock { _ = $0.broken.remove(77) }
        try fixture.memory.restore([PageRange(start: 70, count: 10)])
        #expect(mapping.bytes(77) == FakeProvider.pattern(77))
        #expect(fixture.memory.bytes(77) == FakeProvider.pattern(77))
        #expect(fixture.mappings[1].bytes(77) == FakeProvider.pattern(77))
        #expect(try mapping.take().isEmpty)
        mapping.store(5, 77)
        #expect(try mapping.take() == [77])
    }

    @Test("a forked child has no such memory, and calls from it are errors", arguments: DirtyTracking.allCases)
    func fork(tracking: DirtyTracking) async {
        let useSignal = tracking == .signal
        await #expect(processExitsWith: .exitCode(7)) { [useSignal = useSignal as Bool] in
            guardChild()
            var fixture: SharedFixture? = try SharedFixture(FakeProvider(("p", 40)), tested(useSignal), inArena: true)
            let mapping = fixture!.mappings[0]
            mapping.store(1, 3)
            let child = forkProcess()
            if child == 0 {
                do { _ = try mapping.take() } catch let error as StoreError where error.code == .wrongState {
                    do { try fixture!.memory.fill(PageRange(start: 0, count: 1)) } catch { _ = error }
                    mapping.unmap()
                    // Letting go of it takes nothing from the parent.
                    fixture = nil
                    signal(SIGSEGV) { _ in _exit(5) }
                    _ = mapping.bytes(3)
                }
                _exit(1)
            }
            var status: Int32 = 0
            waitpid(child, &status, 0)
            guard status == 5 << 8, try mapping.take().contains(3), mapping.bytes(3)[100] == 1 else { exit(3) }
            exit(7)
        }
    }

    @Test("pages that may be inherited are the child's too", arguments: DirtyTracking.allCases)
    func inherited(tracking: DirtyTracking) async {
        let useSignal = tracking == .signal
        await #expect(processExitsWith: .exitCode(7)) { [useSignal = useSignal as Bool] in
            guardChild()
            let fixture = try SharedFixture(FakeProvider(("z", 40)), tested(useSignal))
            let mapping = fixture.mappings[0]
            mapping.store(1, 3)
            try mapping.setForkBehavior(PageRange(start: 0, count: 10), inherits: true)
            let child = forkProcess()
            if child == 0 { _exit(mapping.bytes(3)[100] == 1 ? 5 : 1) }
            var status: Int32 = 0
            waitpid(child, &status, 0)
            exit(status == 5 << 8 ? 7 : 3)
        }
    }
}
