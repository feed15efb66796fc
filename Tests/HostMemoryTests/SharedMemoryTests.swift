import Glibc
import HostMemory
import Synchronization
import Testing
import TestSupport
import VMTypes

@Suite("Shared memory")
struct SharedMemoryTests {
    @Test("every kind of run shows its committed bytes in every mapping", arguments: SharedMode.all)
    func committedBytes(mode: SharedMode) throws {
        let fixture = try SharedFixture(FakeProvider(mixedLayout()), mode.mode, inArena: mode.inArena, mappings: 2)
        let reader = try fixture.map(protection: .read, writable: false)
        for page in 0..<fixture.pageCount {
            let bytes = fixture.provider.bytes(page)
            for mapping in fixture.mappings { #expect(mapping.bytes(page) == bytes, "page \(page)") }
            #expect(fixture.memory.bytes(page) == bytes, "page \(page)")
        }
        #expect(try reader.take().isEmpty)
        #expect(fixture.memory.lastFillError == nil)
    }

    @Test("mappings see each other's stores, and our own mapping's", arguments: SharedMode.all)
    func shared(mode: SharedMode) throws {
        let fixture = try SharedFixture(FakeProvider(mixedLayout()), mode.mode, inArena: mode.inArena, mappings: 2)
        let (one, two) = (fixture.mappings[0], fixture.mappings[1])
        for page in [0, 99, 100, 120, 141, 300, 999] where page < fixture.pageCount {
            one.store(5, page)
            #expect(two.bytes(page)[100] == 5)
            two.store(6, page, 200)
            #expect(one.bytes(page)[200] == 6)
            #expect(fixture.memory.bytes(page)[100] == 5)
            fixture.memory.pointer(toPage: page).storeBytes(of: 7, toByteOffset: 300, as: UInt8.self)
            #expect(one.bytes(page)[300] == 7)
            var expected = fixture.provider.bytes(page)
            (expected[100], expected[200], expected[300]) = (5, 6, 7)
            #expect(two.bytes(page) == expected)
        }
        // A mapping made later, of a part.
        let part = try fixture.map(PageRange(start: 90, count: 60), protection: .read, writable: false)
        #expect(part.bytes(120)[200] == 6)
    }

    @Test("pages are filled when touched, once, and only on demand")
    func demand() throws {
        guard HostCapabilities.current.demandFaults else { return }
        let mode = Mode(tracking: HostCapabilities.current.preferredTracking, demandFill: true)
        let fixture = try SharedFixture(FakeProvider(("p", 1024), ("z", 1024)), mode, mappings: 2)
        #expect(fixture.provider.state.withLock { $0.filledPages } == 0)
        #expect(try fixture.memory.presentRuns(in: PageRange(start: 0, count: 2048)).isEmpty)
        #expect(fixture.mappings[0].bytes(500) == FakeProvider.pattern(500))
        let filled = fixture.provider.state.withLock { $0.filledPages }
        #expect(filled > 0 && filled <= 64)
        #expect(fixture.mappings[1].bytes(500) == FakeProvider.pattern(500))
        #expect(fixture.provider.state.withLock { $0.filledPages } == filled)
        let residency = try fixture.memory.residency(in: PageRange(start: 0, count: 2048))
        #expect(residency.resident + residency.swapped == filled)
        #expect(try fixture.memory.residentRuns(in: PageRange(start: 500, count: 1)).count <= 1)
        try fixture.memory.fill(PageRange(start: 0, count: 2048))
        #expect(fixture.provider.state.withLock { $0.filledPages } == 1024)
        #expect(try fixture.memory.presentRuns(in: PageRange(start: 0, count: 2048)) == [PageRange(start: 0, count: 1024)])
        // Filling through our own mapping is no store of the program's.
        _ = try fixture.mappings[0].take()
        #expect(try fixture.mappings[0].take().isEmpty)
    }

    @Test("filling never covers newer bytes, committed meanwhile or not", arguments: SharedMode.all)
    func fillsOnce(mode: SharedMode) throws {
        let provider = FakeProvider(("p", 100), ("z", 100))
        let fixture = try SharedFixture(provider, mode.mode, inArena: mode.inArena)
        let mapping = fixture.mappings[0]
        for page in stride(from: 0, to: 200, by: 3) { mapping.store(9, page) }
        // Committed, and stored to again.
        for page in [3, 150] {
            provider.commit(page, mapping.bytes(page))
            mapping.store(10, page)
        }
        try fixture.memory.fill(PageRange(start: 0, count: 200))
        let other = try fixture.map()
        for page in 0..<200 {
            #expect(other.bytes(page)[100] == ([3, 150].contains(page) ? 10 : page % 3 == 0 ? 9 : provider.bytes(page)[100]))
        }
    }

    @Test("fills racing with stores lose none", arguments: Mode.all)
    func fillRace(mode: Mode) throws {
        let count = 600
        for round in 0..<5 {
            let fixture = try SharedFixture(FakeProvider(("p", count)), mode, mappings: 2)
            let writers = SharedWriters(fixture.mappings, pages: PageRange(start: 0, count: count))
            writers.start(threads: 2, stores: mode.tracking == .signal ? 1_000 : 4_000)
            for page in 0..<count where page % 7 == round {
                try fixture.memory.fill(PageRange(start: page, count: min(5, count - page)))
            }
            writers.wait()
            try fixture.memory.fill(PageRange(start: 0, count: count))
            writers.checkMarks(fixture)
        }
    }

    @Test("restoring overwrites exactly those pages, for all mappings, and leaves them clean", arguments: SharedMode.all)
    func restore(mode: SharedMode) throws {
        let provider = FakeProvider(mixedLayout())
        let fixture = try SharedFixture(provider, mode.mode, inArena: mode.inArena, mappings: 2)
        let (one, two) = (fixture.mappings[0], fixture.mappings[1])
        for page in 0..<fixture.pageCount { one.store(1, page) }
        _ = try one.take()
        _ = try two.take()
        for page in 90..<160 { one.store(2, page); two.store(3, page, 101) }
        try one.protect(PageRange(start: 100, count: 10), .none)
        // Its committed bytes have changed since they were filled.
        provider.commit(95, [UInt8](repeating: 77, count: Page.size))
        try fixture.memory.restore([PageRange(start: 92, count: 20), PageRange(start: 140, count: 3)])
        try one.protect(PageRange(start: 100, count: 10), .default)
        let restored = Set(Array(92..<112) + Array(140..<143))
        let left = (90..<160).filter { !restored.contains($0) }
        #expect(try one.take() == left)
        #expect(try two.take() == left)
        for page in 80..<170 {
            if restored.contains(page) {
                #expect(one.bytes(page) == provider.bytes(page), "page \(page)")
                #expect(two.bytes(page) == provider.bytes(page), "page \(page)")
            } else {
                #expect(two.bytes(page)[100] == ((90..<160).contains(page) ? 2 : 1), "page \(page)")
            }
        }
        #expect(try one.take().isEmpty)
        one.store(4, 94)
        #expect(try one.take() == [94])
        #expect(try two.take().isEmpty)
    }

    @Test("absent pages that are restored show the bytes committed by now", arguments: SharedMode.all)
    func restoreAbsent(mode: SharedMode) throws {
        let provider = FakeProvider(("z", 300), ("p", 20), ("z", 3), ("p", 20))
        let fixture = try SharedFixture(provider, mode.mode, inArena: mode.inArena)
        for page in [5, 310, 321] { provider.commit(page, [UInt8](repeating: 9, count: Page.size)) }
        provider.state.withLock { $0.kinds[315] = .zero }
        try fixture.memory.restore([5, 310, 315, 321].map { PageRange(start: $0, count: 1) })
        for page in [5, 310, 321] { #expect(fixture.mappings[0].bytes(page)[3] == 9, "page \(page)") }
        #expect(fixture.mappings[0].bytes(315) == [UInt8](repeating: 0, count: Page.size))
    }

    @Test("discarded pages take no memory, and come back", arguments: SharedMode.all)
    func discard(mode: SharedMode) throws {
        let provider = FakeProvider(("p", 100), ("z", 500))
        let fixture = try SharedFixture(provider, mode.mode, inArena: mode.inArena, mappings: 2)
        let (one, two) = (fixture.mappings[0], fixture.mappings[1])
        let all = PageRange(start: 0, count: 600)
        for page in 0..<600 { one.store(8, page) }
        _ = two.bytes(300)
        for page in try one.take() { provider.commit(page, one.bytes(page)) }
        guard mode.mode.demandFill else {
            #expect(throws: StoreError.self) { try fixture.memory.discard([all]) }
            return
        }
        _ = try two.take()
        try fixture.memory.discard([PageRange(start: 50, count: 400)])
        #expect(try fixture.memory.presentRuns(in: all) == [PageRange(start: 0, count: 50), PageRange(start: 450, count: 150)])
        #expect(try one.take().isEmpty)
        #expect(try two.take().isEmpty)
        let three = try fixture.map()
        for page in 0..<600 {
            for mapping in [one, two, three] { #expect(mapping.bytes(page) == provider.bytes(page), "page \(page)") }
        }
        #expect(try one.take().isEmpty)
        // Its other page tables were touched only now.
        _ = try two.take()
        one.store(9, 60)
        two.store(9, 400)
        #expect(try one.take() == [60])
        #expect(try two.take() == [400])
        #expect(three.bytes(60)[100] == 9 && three.bytes(400)[100] == 9)
    }

    @Test("malformed arguments are errors")
    func malformed() throws {
        let fixture = try SharedFixture(FakeProvider(("z", 20)), Mode(tracking: .signal, demandFill: false))
        let memory = fixture.memory, base = fixture.window.base
        for pages in [PageRange(start: -1, count: 2), PageRange(start: 0, count: 0), PageRange(start: 1 << 60, count: 1)] {
            #expect(throws: StoreError.self) { try memory.map(at: base, pages: pages, protection: .read, writable: true) }
        }
        let one = PageRange(start: 0, count: 1)
        #expect(throws: StoreError.self) { try memory.map(at: base + 1, pages: one, protection: .read, writable: true) }
        #expect(throws: StoreError.self) { try memory.map(at: base, pages: one, protection: .default, writable: false) }
        #expect(throws: StoreError.self) { try memory.fill(PageRange(start: 10, count: 11)) }
        #expect(throws: StoreError.self) { try memory.restore([PageRange(start: 20, count: 1)]) }
        #expect(throws: StoreError.self) { try memory.presentRuns(in: PageRange(start: 0, count: 21)) }
        #expect(throws: StoreError.self) { try SharedMemory(pageCount: 0, provider: fixture.provider) }
        var dirty: [PageRange] = []
        let mapping = fixture.mappings[0]
        #expect(throws: StoreError.self) { try mapping.unmap(PageRange(start: 19, count: 2), dirty: &dirty) }
        #expect(throws: StoreError.self) { try mapping.unmap(PageRange(start: 19, count: 0), dirty: &dirty) }
        #expect(throws: StoreError.self) { try mapping.protect(PageRange(start: 0, count: 1), Protection(rawValue: 8)) }
        #expect(throws: StoreError.self) { try Population.advise(address: base, byteCount: Page.size, .zero) }
        mapping.unmap()
        mapping.unmap()
        do {
            _ = try mapping.take()
            Issue.record("taken from an unmapped mapping")
        } catch let error as StoreError {
            #expect(error.code == .wrongState)
        }
    }
}
