import Glibc
import HostMemory
import Synchronization
import Testing
import TestSupport
import VMTypes

@Suite("Exclusive mappings")
struct MappingTests {
    @Test("every kind of run shows its committed bytes", arguments: Mode.all)
    func committedBytes(mode: Mode) throws {
        for writable in [true, false] {
            let fixture = try Fixture(FakeProvider(mixedLayout()), mode, writable: writable)
            for page in 0..<fixture.provider.pageCount {
                #expect(fixture.bytes(page) == fixture.provider.bytes(page), "page \(page)")
            }
            #expect(fixture.mapping.lastFillError == nil)
            #expect(try fixture.take().isEmpty)
        }
    }

    @Test("pages are filled when touched, 64 around the fault")
    func demand() throws {
        guard HostCapabilities.current.demandFaults else { return }
        let mode = Mode(tracking: HostCapabilities.current.preferredTracking, demandFill: true)
        let fixture = try Fixture(FakeProvider(("p", 1024)), mode)
        #expect(fixture.provider.state.withLock { $0.filledPages } == 0)
        #expect(fixture.mapping.residentPageCount() == 0)
        #expect(fixture.bytes(500) == FakeProvider.pattern(500))
        let filled = fixture.provider.state.withLock { $0.filledPages }
        #expect(filled > 0 && filled <= 64)
        #expect(fixture.mapping.residentPageCount() == filled)
    }

    @Test("only stores are dirty, once", arguments: Mode.all)
    func dirty(mode: Mode) throws {
        let fixture = try Fixture(FakeProvider(mixedLayout()), mode, offset: 3)
        #expect(try fixture.take().isEmpty)
        let stored = [0, 5, 99, 100, 120, 140, 142, 143, 147, 148, 149, 200, 230, 300, 700, 840, 841, 860, 1000, 1067]
            .filter { $0 < fixture.provider.pageCount }
        for page in 0..<50 { _ = fixture.bytes(page * 20) }
        for page in stored { fixture.store(77, page) }
        #expect(try fixture.peek() == stored)
        #expect(try fixture.peek() == stored)
        #expect(try fixture.take() == stored)
        #expect(try fixture.take().isEmpty)
        fixture.store(78, 120)
        fixture.store(78, 4)
        #expect(try fixture.take() == [4, 120])
        for page in stored where page != 120 { #expect(fixture.bytes(page)[100] == 77) }
        for page in 0..<fixture.provider.pageCount { _ = fixture.bytes(page) }
        #expect(try fixture.take().isEmpty)
    }

    @Test("a re-armed page is clean until the next store", arguments: Mode.all)
    func rearm(mode: Mode) throws {
        let fixture = try Fixture(FakeProvider(mixedLayout()), mode)
        for page in 90..<160 { fixture.store(1, page) }
        try fixture.mapping.rearm(PageRange(start: 95, count: 60))
        #expect(try fixture.peek() == Array(90..<95) + Array(155..<160))
        fixture.store(2, 100)
        #expect(try fixture.take() == Array(90..<95) + [100] + Array(155..<160))
    }

    @Test("one store into a large zero object is one dirty page", arguments: Mode.all)
    func largeZero(mode: Mode) throws {
        let fixture = try Fixture(FakeProvider(("z", 262_144)), mode)
        #expect(try fixture.take().isEmpty)
        fixture.store(1, 100_000)
        #expect(try fixture.take() == [100_000])
        fixture.store(1, 100_001)
        fixture.store(1, 200_001)
        #expect(try fixture.take() == [100_001, 200_001])
        #expect(fixture.mapping.residentPageCount() < 600)
    }

    @Test("restoring puts committed bytes back and leaves pages clean", arguments: Mode.all)
    func restore(mode: Mode) throws {
        let fixture = try Fixture(FakeProvider(mixedLayout()), mode)
        let count = fixture.provider.pageCount
        for page in 0..<count { fixture.store(200, page) }
        let dirty = try fixture.peek()
        #expect(dirty == Array(0..<count))
        try fixture.mapping.restore([PageRange(start: 0, count: 300), PageRange(start: 310, count: count - 310)])
        #expect(try fixture.peek() == Array(300..<310))
        for page in 0..<count where !(300..<310).contains(page) {
            #expect(fixture.bytes(page) == fixture.provider.bytes(page), "page \(page)")
        }
        for page in 300..<310 { #expect(fixture.bytes(page)[100] == 200) }
        #expect(try fixture.take() == Array(300..<310))
        fixture.store(3, 120)
        #expect(try fixture.take() == [120])
    }

    @Test("a failing restore says so and keeps the pages dirty", arguments: Mode.all)
    func failingRestore(mode: Mode) throws {
        let fixture = try Fixture(FakeProvider(("p", 200)), mode)
        fixture.store(9, 150)
        fixture.provider.state.withLock { _ = $0.broken.insert(150) }
        #expect(throws: StoreError.self) { try fixture.mapping.restore([PageRange(start: 150, count: 1)]) }
        #expect(fixture.bytes(150)[100] == 9)
        #expect(try fixture.take() == [150])
    }

    @Test("system calls read into pages", arguments: Mode.all.filter { $0.tracking == .asyncWriteProtect })
    func systemCalls(mode: Mode) throws {
        let fixture = try Fixture(FakeProvider(mixedLayout()), mode)
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        for page in [3, 110, 141, 160, 700] {
            #expect(try fixture.take().isEmpty)
            var bytes: [UInt8] = [41, 42, 43]
            #expect(write(ends[1], &bytes, 3) == 3)
            #expect(read(ends[0], fixture.mapping.pointer(toPage: page) + 50, 3) == 3)
            #expect(Array(fixture.bytes(page)[50..<53]) == bytes)
            #expect(try fixture.take() == [page])
        }
    }

    @Test("an unmapped mapping refuses calls", arguments: Mode.all)
    func unmap(mode: Mode) throws {
        let fixture = try Fixture(FakeProvider(mixedLayout()), mode)
        fixture.store(1, 120)
        fixture.mapping.unmap()
        fixture.mapping.unmap()
        #expect(throws: StoreError.self) { try fixture.take() }
        #expect(fixture.mapping.residentPageCount() == 0)
        // The addresses are free for the next mapping, which starts clean.
        let again = try ExclusiveMapping(
            address: fixture.mapping.address, pages: PageRange(start: 100, count: 60), provider: fixture.provider,
            writable: true, tracking: mode.tracking, demandFill: mode.demandFill)
        var runs: [PageRange] = []
        try again.takeDirty(into: &runs)
        #expect(runs.isEmpty)
        #expect(again.pointer(toPage: 120).load(fromByteOffset: 100, as: UInt8.self) == FakeProvider.pattern(120)[100])
        again.unmap()
    }

    @Test("ranges outside are refused", arguments: Mode.all)
    func ranges(mode: Mode) throws {
        let fixture = try Fixture(FakeProvider(("z", 20), ("e", 4)), mode)
        for range in [PageRange(start: 19, count: 2), PageRange(start: -1, count: 1), PageRange(start: 5, count: .max)] {
            #expect(throws: StoreError.self) { try fixture.mapping.restore([range]) }
            #expect(throws: StoreError.self) { try fixture.mapping.rearm(range) }
        }
        fixture.store(1, 19)
        #expect(try fixture.take() == [19])
    }
}
