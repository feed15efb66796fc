import Glibc
import HostMemory
import Synchronization
import Testing
import VMTypes

@Suite("Accesses that must not succeed")
struct FaultTests {
    @Test("a fill that fails raises SIGBUS, not a hang")
    func failingFill() async {
        guard HostCapabilities.current.demandFaults else { return }
        await #expect(processExitsWith: .signal(SIGBUS)) {
            guardChild()
            let mode = Mode(tracking: HostCapabilities.current.preferredTracking, demandFill: true)
            let fixture = try Fixture(FakeProvider(("p", 200)), mode)
            fixture.provider.state.withLock { _ = $0.broken.insert(77) }
            // Its neighbours are filled.
            guard fixture.bytes(76) == FakeProvider.pattern(76) else { exit(3) }
            _ = fixture.bytes(77)
        }
    }

    @Test("a failed fill is an error in a system call, is kept, is not dirty, and can be mended", arguments: Mode.all)
    func poisonedPage(mode: Mode) throws {
        guard mode.demandFill else { return }
        let fixture = try Fixture(FakeProvider(("p", 200)), mode)
        fixture.provider.state.withLock { _ = $0.broken.insert(77) }
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        // First with the neighbours armed, so that a marker stands where the page is poisoned.
        fixture.store(1, 80)
        #expect(try fixture.take() == [80])
        #expect(write(ends[1], fixture.mapping.pointer(toPage: 77), 1) == -1)
        #expect(fixture.mapping.lastFillError?.code == .damaged)
        #expect(write(ends[1], fixture.mapping.pointer(toPage: 77), 1) == -1)
        #expect(try fixture.take().isEmpty)
        #expect(fixture.bytes(78) == FakeProvider.pattern(78))
        fixture.provider.state.withLock { _ = $0.broken.remove(77) }
        try fixture.mapping.restore([PageRange(start: 70, count: 10)])
        #expect(fixture.bytes(77) == FakeProvider.pattern(77))
        #expect(try fixture.take().isEmpty)
        fixture.store(5, 77)
        #expect(try fixture.take() == [77])
    }

    @Test("beyond the end is SIGBUS")
    func beyondEnd() async {
        await #expect(processExitsWith: .signal(SIGBUS)) {
            guardChild()
            let fixture = try Fixture(
                FakeProvider(("z", 20), ("e", 4)),
                Mode(tracking: HostCapabilities.current.preferredTracking, demandFill: false))
            fixture.store(1, 19)
            guard try fixture.take() == [19] else { exit(3) }
            fixture.store(1, 20)
        }
    }

    @Test("a read-only mapping takes no stores")
    func readOnly() async throws {
        await #expect(processExitsWith: .signal(SIGSEGV)) {
            guardChild()
            let fixture = try Fixture(
                FakeProvider(("z", 20)), Mode(tracking: .signal, demandFill: false), writable: false)
            fixture.store(1, 3)
        }
        let fixture = try Fixture(FakeProvider(("z", 20)), Mode.all[0], writable: false)
        #expect(throws: StoreError.self) {
            try fixture.mapping.protect(PageRange(start: 0, count: 2), .default)
        }
    }

    @Test("stores that the protection forbids raise SIGSEGV", arguments: DirtyTracking.allCases)
    func storeProtected(tracking: DirtyTracking) async {
        let useSignal = tracking == .signal
        await #expect(processExitsWith: .signal(SIGSEGV)) { [useSignal = useSignal as Bool] in
            guardChild()
            let fixture = try Fixture(FakeProvider(("z", 40)), tested(useSignal))
            fixture.store(1, 3)
            try fixture.mapping.protect(PageRange(start: 2, count: 3), .read)
            guard try fixture.take() == [3], fixture.bytes(3)[100] == 1 else { exit(3) }
            fixture.store(1, 5)
            fixture.store(1, 4)
        }
    }

    @Test("loads that the protection forbids raise SIGSEGV", arguments: DirtyTracking.allCases)
    func loadProtected(tracking: DirtyTracking) async {
        let useSignal = tracking == .signal
        await #expect(processExitsWith: .signal(SIGSEGV)) { [useSignal = useSignal as Bool] in
            guardChild()
            let fixture = try Fixture(FakeProvider(("p", 40)), tested(useSignal))
            fixture.store(1, 3)
            try fixture.mapping.protect(PageRange(start: 2, count: 3), .none)
            guard try fixture.take() == [3] else { exit(3) }
            _ = fixture.bytes(3)
        }
    }

    @Test("protections compose with tracking, restoring and copying out", arguments: Mode.all)
    func composition(mode: Mode) throws {
        let fixture = try Fixture(FakeProvider(mixedLayout()), mode)
        let mapping = fixture.mapping
        for page in 90..<200 { fixture.store(5, page) }
        try mapping.protect(PageRange(start: 100, count: 50), .none)
        try mapping.protect(PageRange(start: 160, count: 10), .read)
        #expect(try fixture.take() == Array(90..<200))
        var copy = [UInt8](repeating: 0, count: 100 * Page.size)
        try copy.withUnsafeMutableBytes { try mapping.copyOut(PageRange(start: 95, count: 100), into: $0.baseAddress!) }
        for page in 0..<100 { #expect(copy[page * Page.size + 100] == 5) }
        try mapping.restore([PageRange(start: 95, count: 100)])
        try mapping.protect(PageRange(start: 100, count: 50), .default)
        try mapping.protect(PageRange(start: 160, count: 10), .default)
        for page in 95..<195 { #expect(fixture.bytes(page) == fixture.provider.bytes(page), "page \(page)") }
        #expect(try fixture.take().isEmpty)
        for page in [120, 165] { fixture.store(6, page) }
        #expect(try fixture.take() == [120, 165])
    }

    @Test("a fault that isn't ours goes to the handler before")
    func chaining() async {
        await #expect(processExitsWith: .exitCode(42)) {
            guardChild()
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { _ in _exit(42) }
            sigaction(SIGSEGV, &action, nil)
            let fixture = try Fixture(FakeProvider(("z", 20)), Mode(tracking: .signal, demandFill: false))
            fixture.store(1, 3)
            guard try fixture.take() == [3] else { exit(3) }
            fixture.mapping.unmap()
            fixture.store(1, 3)
        }
    }

    @Test("a forked child has no such memory, and calls from it are errors", arguments: DirtyTracking.allCases)
    func fork(tracking: DirtyTracking) async {
        let useSignal = tracking == .signal
        await #expect(processExitsWith: .exitCode(7)) { [useSignal = useSignal as Bool] in
            guardChild()
            let fixture = try Fixture(FakeProvider(("p", 40)), tested(useSignal))
            fixture.store(1, 3)
            let child = forkProcess()
            if child == 0 {
                do { _ = try fixture.take() } catch let error as StoreError where error.code == .wrongState {
                    fixture.mapping.unmap()
                    signal(SIGSEGV) { _ in _exit(5) }
                    _ = fixture.bytes(3)
                }
                _exit(1)
            }
            var status: Int32 = 0
            waitpid(child, &status, 0)
            guard status == 5 << 8, try fixture.take() == [3] else { exit(3) }
            exit(7)
        }
    }
}

/// The tracking asked for, where it works here.
func tested(_ useSignal: Bool) -> Mode {
    let host = HostCapabilities.current
    return Mode(tracking: useSignal ? .signal : host.preferredTracking, demandFill: host.demandFaults)
}

/// Swift hides fork; exit tests call it by name.
func forkProcess() -> pid_t {
    typealias Fork = @convention(c) () -> pid_t
    let symbol = dlsym(nil, "fork")!
    return unsafeBitCast(symbol, to: Fork.self)()
}
