import Glibc
import HostMemory
import Testing
import TestSupport
import VMTypes

@Suite("Dirty pages of shared mappings")
struct SharedDirtyTests {
    @Test("the first call finds every store; from then on exactly the stores", arguments: SharedMode.all)
    func exact(mode: SharedMode) throws {
        let fixture = try SharedFixture(FakeProvider(mixedLayout()), mode.mode, inArena: mode.inArena, mappings: 2)
        let (one, two) = (fixture.mappings[0], fixture.mappings[1])
        let stored = [0, 5, 99, 100, 120, 140, 142, 143, 149, 200, 300, 700, 840, 1000]
        for page in 0..<50 { _ = one.bytes(page * 20) }
        for page in stored { one.store(77, page) }
        #expect(try Set(one.peek()).isSuperset(of: stored))
        let first = try one.take()
        #expect(first == first.sorted())
        #expect(Set(first).isSuperset(of: stored))
        #expect(try one.take().isEmpty)
        #expect(try one.peek().isEmpty)
        for page in 0..<fixture.pageCount { _ = one.bytes(page) }
        try fixture.memory.fill(PageRange(start: 0, count: fixture.pageCount))
        fixture.memory.pointer(toPage: 500).storeBytes(of: 1, as: UInt8.self)
        #expect(try one.take().isEmpty)
        two.store(1, 250)
        one.store(78, 120)
        one.store(78, 4)
        #expect(try one.peek() == [4, 120])
        #expect(try one.take() == [4, 120])
        #expect(try one.take().isEmpty)
        #expect(try two.take().contains(250))
        one.store(1, 30)
        try one.rearm(PageRange(start: 20, count: 30))
        #expect(try one.take().isEmpty)
    }

    @Test("one store into a large object is one dirty page", arguments: Mode.all)
    func large(mode: Mode) throws {
        let fixture = try SharedFixture(FakeProvider(("z", 262_144)), mode)
        #expect(try fixture.mappings[0].take().isEmpty)
        for page in [100_000, 100_001, 200_000] {
            fixture.mappings[0].store(1, page)
            #expect(try fixture.mappings[0].take() == [page])
        }
    }

    @Test("random stores, takes, protections and cuts agree with a model", arguments: SharedMode.all)
    func random(mode: SharedMode) throws {
        for seed in 1...6 as ClosedRange<UInt64> {
            var random = SeededGenerator(seed: seed)
            let fixture = try SharedFixture(FakeProvider(mixedLayout()), mode.mode, inArena: mode.inArena, mappings: 2)
            let count = fixture.pageCount
            var model = (0..<count).map { fixture.provider.bytes($0) }
            // Every table is armed, so that the sets are exact; then both are cut at random.
            for mapping in fixture.mappings {
                for page in 0..<count { _ = mapping.bytes(page) }
                _ = try mapping.take()
            }
            var dirty: [ObjectIdentifier: Set<Int>] = [:]
            for step in 0..<400 {
                guard let mapping = fixture.mappings.randomElement(using: &random) else { break }
                let page = Int.random(in: mapping.pages.start..<mapping.pages.end, using: &random)
                switch Int.random(in: 0..<20, using: &random) {
                case 0..<10:
                    let value = UInt8.random(in: 0...255, using: &random)
                    mapping.store(value, page)
                    model[page][100] = value
                    dirty[ObjectIdentifier(mapping), default: []].insert(page)
                case 10..<13:
                    #expect(mapping.bytes(page) == model[page], "seed \(seed), step \(step)")
                case 13..<15:
                    let expected = dirty.removeValue(forKey: ObjectIdentifier(mapping)) ?? []
                    #expect(try mapping.take() == expected.sorted(), "seed \(seed), step \(step)")
                case 15:
                    let expected = dirty[ObjectIdentifier(mapping)] ?? []
                    #expect(try mapping.peek() == expected.sorted(), "seed \(seed), step \(step)")
                case 16:
                    let range = PageRange(start: page, count: Int.random(in: 1...mapping.pages.end - page, using: &random))
                    try mapping.protect(range, .none)
                    try mapping.protect(range, .read)
                    #expect(mapping.bytes(page) == model[page])
                    try mapping.protect(range, .default)
                case 17 where mapping.pages.count > 20:
                    let most = min(mapping.pages.end - page, 60)
                    let part = PageRange(start: page, count: Int.random(in: 1...most, using: &random))
                    var runs: [PageRange] = []
                    let rest = try mapping.unmap(part, dirty: &runs)
                    let before = dirty.removeValue(forKey: ObjectIdentifier(mapping)) ?? []
                    #expect(runs.flatMap { Array($0.start..<$0.end) } == before.filter(part.contains).sorted())
                    #expect(rest.reduce(0) { $0 + $1.pages.count } == mapping.pages.count - part.count)
                    for piece in rest { dirty[ObjectIdentifier(piece)] = before.filter(piece.pages.contains) }
                    // What is placed in the gap has nothing to do with it.
                    let gap = try fixture.memory.map(
                        at: mapping.address + UInt64((part.start - mapping.pages.start) << Page.shift), pages: part,
                        protection: .default, writable: true)
                    for page in part.start..<part.end { _ = gap.bytes(page) }
                    _ = try gap.take()
                    fixture.replace(mapping, with: rest + [gap])
                default: break
                }
            }
            for mapping in fixture.mappings {
                #expect(try mapping.take() == (dirty[ObjectIdentifier(mapping)] ?? []).sorted(), "seed \(seed)")
            }
            for page in 0..<count { #expect(fixture.memory.bytes(page) == model[page], "seed \(seed), page \(page)") }
        }
    }

    @Test("no store of racing writers is lost", arguments: SharedMode.all)
    func racingWriters(mode: SharedMode) throws {
        let count = 700
        let provider = FakeProvider(("z", 300), ("f", 200), ("p", 200))
        let fixture = try SharedFixture(provider, mode.mode, inArena: mode.inArena, mappings: 2)
        var copy = (0..<count).map { fixture.provider.bytes($0) }
        let writers = SharedWriters(fixture.mappings, pages: PageRange(start: 0, count: count))
        writers.start(threads: 3, stores: mode.mode.tracking == .signal ? 5_000 : 30_000)
        while true {
            let wasRunning = writers.running > 0
            for mapping in fixture.mappings { for page in try mapping.take() { copy[page] = fixture.memory.bytes(page) } }
            if !wasRunning { break }
        }
        for page in 0..<count { #expect(copy[page] == fixture.memory.bytes(page), "page \(page)") }
        writers.checkMarks(fixture)
        for mapping in fixture.mappings { #expect(try mapping.take().isEmpty) }
    }

    @Test("cuts beside racing writers lose none of their stores", arguments: SharedMode.all)
    func racingCuts(mode: SharedMode) throws {
        let count = 600, kept = PageRange(start: 200, count: 200)
        for _ in 0..<4 {
            let provider = FakeProvider(("p", 300), ("z", 300))
            let fixture = try SharedFixture(provider, mode.mode, inArena: mode.inArena)
            var copy = (0..<count).map { fixture.provider.bytes($0) }
            var mapping = fixture.mappings[0]
            let writers = SharedWriters([mapping], pages: kept)
            writers.start(threads: 2, stores: mode.mode.tracking == .signal ? 3_000 : 20_000)
            var runs: [PageRange] = []
            for step in 0..<190 {
                let isFirst = step % 2 == 0
                let part = PageRange(start: isFirst ? mapping.pages.start : mapping.pages.end - 1, count: 1)
                let rest = try mapping.unmap(part, dirty: &runs)
                #expect(rest.count == 1)
                fixture.replace(mapping, with: rest)
                mapping = rest[0]
                if step % 5 == 0 { try mapping.takeDirty(into: &runs) }
            }
            writers.wait()
            try mapping.takeDirty(into: &runs)
            for run in runs { for page in run.start..<run.end { copy[page] = fixture.memory.bytes(page) } }
            for page in 0..<count { #expect(copy[page] == fixture.memory.bytes(page), "page \(page)") }
            writers.checkMarks(fixture)
        }
    }

    @Test("a cut whose stores race with it reports every store that happened", arguments: Mode.all)
    func storesIntoTheCut(mode: Mode) async {
        let tracking = mode.tracking.rawValue, demandFill = mode.demandFill
        await #expect(processExitsWith: .exitCode(7)) { [tracking = tracking as String, demandFill = demandFill as Bool] in
            guardChild()
            let mode = Mode(tracking: DirtyTracking(rawValue: tracking)!, demandFill: demandFill)
            // The writer's thread ends where its store is refused.
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { _ in pthread_exit(nil) }
            sigaction(SIGSEGV, &action, nil)
            for round in 0..<20 {
                let fixture = try SharedFixture(FakeProvider(("z", 100)), mode)
                let before = (0..<100).map { fixture.memory.bytes($0) }
                if round % 2 == 0 { _ = try fixture.mappings[0].take() }
                let target = fixture.mappings[0].pointer(toPage: 0)
                var thread = pthread_t()
                pthread_create(&thread, nil, { context in
                    var value: UInt8 = 1
                    while true {
                        for page in 0..<100 {
                            context!.storeBytes(of: value, toByteOffset: page << Page.shift, as: UInt8.self)
                        }
                        value &+= 1
                    }
                }, target)
                usleep(UInt32(200 + round * 50))
                var dirty: [PageRange] = []
                guard try fixture.mappings[0].unmap(PageRange(start: 0, count: 100), dirty: &dirty).isEmpty else { exit(2) }
                pthread_join(thread, nil)
                let found = Set(dirty.flatMap { Array($0.start..<$0.end) })
                for page in 0..<100 where fixture.memory.bytes(page) != before[page] && !found.contains(page) { exit(3) }
            }
            exit(7)
        }
    }
}
