import Glibc
@testable import HostMemory
import Synchronization
import Testing
import TestSupport
import VMTypes

private let home = ShadowHome(folder: "/tmp")

extension Fixture {
    /// Trades one table as far as it goes.
    @discardableResult
    func trade(_ table: Int, _ home: ShadowHome = home) throws -> ExclusiveMapping.TradeStep {
        while true {
            let step = try mapping.trade(table, to: home)
            guard case .copied = step else { return step }
            try mapping.settleCopies()
        }
    }

    var tables: Range<Int> { 0..<mapping.ages.count }

    /// Whether any page of a table is in memory, or has a place in a page table of the kernel.
    func isPresent(_ table: Int) -> Bool {
        let pages = mapping.ages.pages(of: table)
        let address = UInt64(UInt(bitPattern: mapping.pointer(toPage: pages.start)))
        return Population.count(address: address, byteCount: pages.count << Page.shift).resident > 0
    }

    /// Commits what was stored to, as a store would.
    func commit() throws {
        for page in try take() { provider.commit(page, bytes(page)) }
    }
}

@Suite("Trading cold memory")
struct TradeTests {
    /// Three whole tables and two halves.
    private func fixture(_ mode: Mode, _ pieces: (Character, Int)..., offset: Int = 256) throws -> Fixture {
        try Fixture(FakeProvider(pieces.flatMap { Array(repeating: $0.0, count: $0.1) }), mode, offset: offset)
    }

    @Test("what was stored to and committed leaves private memory, and no byte changes", arguments: Mode.all)
    func bytesStay(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 900), ("f", 700), ("p", 400))
        for page in 0..<2000 { fixture.store(UInt8(page & 0xff), page) }
        try fixture.commit()
        let model = (0..<2000).map { fixture.bytes($0) }
        #expect(fixture.mapping.privateBytes >= 2000 << Page.shift)
        for table in fixture.tables {
            #expect(try fixture.trade(table) == .traded, "table \(table)")
            #expect(!fixture.isPresent(table), "table \(table)")
        }
        #expect(fixture.mapping.privateBytes == 0)
        #expect(try fixture.take().isEmpty)
        for page in 0..<2000 { #expect(fixture.bytes(page) == model[page], "page \(page)") }
        #expect(try fixture.take().isEmpty)
    }

    @Test("stores after a trade are found, and can be undone and traded again", arguments: Mode.all)
    func storesAfterwards(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 900), ("f", 700), ("p", 400))
        for page in stride(from: 0, to: 2000, by: 7) { fixture.store(1, page) }
        try fixture.commit()
        for table in fixture.tables { try fixture.trade(table) }
        for page in stride(from: 3, to: 2000, by: 50) { fixture.store(2, page) }
        let expected = Array(stride(from: 3, to: 2000, by: 50))
        #expect(try fixture.peek() == expected)
        // What a table is traded with must not hide what was stored to it.
        for table in fixture.tables { #expect(try fixture.trade(table) == .refused) }
        #expect(try fixture.take() == expected)
        for page in expected where page % 100 == 3 { fixture.provider.commit(page, fixture.bytes(page)) }
        let undone = expected.filter { $0 % 100 != 3 }
        try fixture.mapping.restore(undone.map { PageRange(start: $0, count: 1) })
        for table in fixture.tables { #expect(try fixture.trade(table) == .traded) }
        for page in 0..<2000 { #expect(fixture.bytes(page) == fixture.provider.bytes(page), "page \(page)") }
        #expect(try fixture.take().isEmpty)
    }

    @Test("bytes that no commit has taken survive too", arguments: Mode.all)
    func uncommitted(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 600), ("f", 300), ("p", 300))
        for page in 0..<1200 { fixture.store(9, page) }
        // Taken by a look, and in no version.
        let model = (0..<1200).map { fixture.bytes($0) }
        _ = try fixture.take()
        for table in fixture.tables { #expect(try fixture.trade(table) == .traded) }
        for page in 0..<1200 { #expect(fixture.bytes(page) == model[page], "page \(page)") }
        try fixture.mapping.restore([PageRange(start: 0, count: 1200)])
        for page in 0..<1200 { #expect(fixture.bytes(page) == fixture.provider.bytes(page), "page \(page)") }
        #expect(try fixture.take().isEmpty)
    }

    @Test("a copy that a store comes into begins again", arguments: Mode.all)
    func interrupted(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 2048))
        let first = fixture.mapping.ages.pages(of: 1), second = fixture.mapping.ages.pages(of: 2)
        for page in first.start..<first.end { fixture.store(1, page) }
        try fixture.commit()
        #expect(try fixture.mapping.trade(1, to: home) == .copied(pages: first.count))
        try fixture.mapping.settleCopies()
        fixture.store(2, first.start + 5)
        try fixture.commit()
        #expect(try fixture.trade(1) == .traded)
        #expect(fixture.bytes(first.start + 5)[100] == 2)
        // What an earlier copy left in the file does not show where zeros are committed again.
        for page in second.start..<second.end { fixture.store(3, page) }
        _ = try fixture.take()
        #expect(try fixture.mapping.trade(2, to: home) == .copied(pages: second.count))
        try fixture.mapping.settleCopies()
        try fixture.mapping.restore([PageRange(start: second.start + 1, count: 511)])
        #expect(try fixture.trade(2) == .traded)
        #expect(fixture.bytes(second.start)[100] == 3)
        for page in second.start + 1..<second.end { #expect(fixture.bytes(page)[100] == 0, "page \(page)") }
    }

    @Test("wired memory and memory that may not be read stay; protections and what finds stores hold", arguments: Mode.all)
    func refused(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 2560))
        for page in 0..<2560 { fixture.store(1, page) }
        try fixture.commit()
        let parts = (1...3).map { fixture.mapping.ages.pages(of: $0) }
        fixture.mapping.keep(PageRange(start: parts[0].start + 100, count: 1), true)
        try fixture.mapping.protect(PageRange(start: parts[1].start + 60, count: 1), [])
        try fixture.mapping.protect(parts[2], .read)
        #expect(try fixture.trade(1) == .refused)
        #expect(try fixture.trade(2) == .refused)
        #expect(try fixture.trade(3) == .traded)
        #expect(fixture.mapping.protectionRuns.contains { $0.pages == parts[2] && $0.protection == .read })
        fixture.mapping.keep(PageRange(start: parts[0].start + 100, count: 1), false)
        #expect(try fixture.trade(1) == .traded)
        try fixture.mapping.protect(parts[2], [.read, .write])
        fixture.store(4, parts[2].start + 7)
        #expect(try fixture.take() == [parts[2].start + 7])
    }

    @Test("a store to memory that may only be read faults after a trade as before", arguments: Mode.all)
    func readOnlyStaysReadOnly(mode: Mode) async throws {
        let tracking = mode.tracking.rawValue, demand = mode.demandFill
        await #expect(processExitsWith: .signal(SIGSEGV)) {
            [tracking = tracking as String, demand = demand as Bool] in
            guardChild()
            let mode = Mode(tracking: DirtyTracking(rawValue: tracking)!, demandFill: demand)
            let fixture = try Fixture(FakeProvider(("z", 1024)), mode)
            for page in 0..<1024 { fixture.store(1, page) }
            try fixture.commit()
            try fixture.mapping.protect(PageRange(start: 0, count: 1024), .read)
            for table in fixture.tables { try fixture.trade(table) }
            fixture.store(2, 700)
        }
    }

    @Test("stores, looks, trades, aborts, protections and loads agree with a model", arguments: Mode.all, [1, 2] as [UInt64])
    func model(mode: Mode, seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var layout: [Character] = []
        while layout.count < 2500 {
            let letter = "zfp".randomElement(using: &random)!
            layout += Array(repeating: letter, count: Int.random(in: 1...300, using: &random))
        }
        let count = layout.count
        let fixture = try Fixture(FakeProvider(layout), mode, offset: Int.random(in: 0..<700, using: &random))
        var model: [[UInt8]] = (0..<count).map { fixture.provider.bytes($0) }
        var dirty: Set<Int> = []
        var forbidden = PageRange(start: 0, count: 0)
        for step in 0..<400 {
            let note = "seed \(seed), step \(step)"
            switch Int.random(in: 0..<12, using: &random) {
            case 0..<4:
                let around = Int.random(in: 0..<count, using: &random)
                for _ in 0..<Int.random(in: 1...60, using: &random) {
                    let page = Bool.random(using: &random) ? min(count - 1, around + Int.random(in: 0..<40, using: &random))
                        : Int.random(in: 0..<count, using: &random)
                    guard !forbidden.contains(page) else { continue }
                    let offset = Int.random(in: 0..<Page.size, using: &random)
                    let value = UInt8.random(in: 0...255, using: &random)
                    fixture.store(value, page, offset)
                    model[page][offset] = value
                    dirty.insert(page)
                }
            case 4: #expect(try fixture.peek() == dirty.sorted(), "\(note)")
            case 5, 6:
                let taken = try fixture.take()
                #expect(taken == dirty.sorted(), "\(note)")
                for page in taken { fixture.provider.commit(page, fixture.bytes(page)) }
                dirty = []
            case 7:
                var pages = dirty.filter { _ in Bool.random(using: &random) }
                for _ in 0..<3 { pages.insert(Int.random(in: 0..<count, using: &random)) }
                try fixture.mapping.restore(pages.sorted().map { PageRange(start: $0, count: 1) })
                for page in pages {
                    model[page] = fixture.provider.bytes(page)
                    dirty.remove(page)
                }
            case 8:
                try fixture.mapping.protect(forbidden, [.read, .write])
                let start = Int.random(in: 0..<count, using: &random)
                forbidden = PageRange(start: start, count: min(count - start, Int.random(in: 1...700, using: &random)))
                try fixture.mapping.protect(forbidden, .read)
            case 9, 10:
                for _ in 0..<Int.random(in: 1...40, using: &random) {
                    let table = Int.random(in: fixture.tables, using: &random)
                    let result = try fixture.mapping.trade(table, to: home)
                    if Int.random(in: 0..<3, using: &random) == 0 { try fixture.mapping.settleCopies() }
                    if result == .traded {
                        let pages = fixture.mapping.ages.pages(of: table)
                        #expect(dirty.isDisjoint(with: pages.start..<pages.end), "\(note)")
                    }
                }
            default:
                for _ in 0..<40 {
                    let page = Int.random(in: 0..<count, using: &random)
                    #expect(fixture.bytes(page) == model[page], "\(note), page \(page)")
                }
            }
        }
        #expect(try fixture.take() == dirty.sorted(), "seed \(seed)")
        for page in 0..<count { #expect(fixture.bytes(page) == model[page], "seed \(seed), page \(page)") }
    }

    @Test("threads that load meanwhile see the same bytes", arguments: Mode.all)
    func racingLoads(mode: Mode) throws {
        let count = 1536
        let fixture = try fixture(mode, ("z", 512), ("f", 512), ("p", 512))
        for page in 0..<count { fixture.mapping.pointer(toPage: page).storeBytes(of: UInt64(page) | 1 << 40, as: UInt64.self) }
        try fixture.commit()
        let readers = RacingReaders(mapping: fixture.mapping, pageCount: count)
        readers.start(threads: 2)
        for round in 0..<20 {
            for table in fixture.tables { #expect(try fixture.trade(table) != .refused) }
            // Private again, with the same bytes.
            for page in stride(from: round, to: count, by: 5) {
                let place = fixture.mapping.pointer(toPage: page)
                place.storeBytes(of: place.load(as: UInt64.self), as: UInt64.self)
            }
            try fixture.commit()
        }
        #expect(readers.stop() == 0)
    }

    @Test("where signals find stores, none of racing writers is lost")
    func racingStores() throws {
        let count = 1100
        let fixture = try Fixture(
            FakeProvider(("z", 500), ("f", 300), ("p", 300)), Mode(tracking: .signal, demandFill: false))
        var copy = (0..<count).map { fixture.provider.bytes($0) }
        let writers = RacingWriters(mapping: fixture.mapping, pageCount: count)
        writers.start(threads: 2, stores: 3_000)
        while true {
            let wasRunning = writers.running > 0
            for page in try fixture.take() { copy[page] = fixture.bytes(page) }
            for table in fixture.tables { try fixture.trade(table) }
            if !wasRunning { break }
        }
        for page in try fixture.take() { copy[page] = fixture.bytes(page) }
        for page in 0..<count { #expect(copy[page] == fixture.bytes(page), "page \(page)") }
    }

    @Test("a store that a look appends to the caller's last run is noticed by a copy", arguments: Mode.all)
    func joinedRun(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 1024), offset: 0)
        for page in 0..<512 { fixture.store(1, page) }
        try fixture.commit()
        #expect(try fixture.mapping.trade(0, to: home) == .copied(pages: 512))
        try fixture.mapping.settleCopies()
        fixture.store(2, 5)
        var runs = [PageRange(start: 0, count: 5)]
        try fixture.mapping.takeDirty(into: &runs)
        #expect(runs == [PageRange(start: 0, count: 6)])
        #expect(try fixture.trade(0) == .traded)
        #expect(fixture.bytes(5)[100] == 2)
    }

    @Test("fill failures during an exchange poison nothing that has been traded", arguments: Mode.all)
    func latePoison(mode: Mode) throws {
        let fixture = try fixture(mode, ("p", 1024), offset: 0)
        guard let region = fixture.mapping.region else { return }
        for page in 0..<512 { fixture.store(1, page) }
        try fixture.commit()
        #expect(try fixture.trade(0) == .traded)
        region.poison(7, StoreError(.io, "the disk"))
        #expect(!fixture.mapping.isPoisoned(7))
        #expect(fixture.bytes(7)[100] == 1)
    }

    @Test("a table that nobody has stored to and whose pages are gone is given back, and not kept in the account", arguments: Mode.all)
    func dropped(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 1024), offset: 0)
        for page in 0..<1024 { fixture.store(1, page) }
        _ = try fixture.take()
        try fixture.mapping.restore([PageRange(start: 0, count: 1024)])
        for table in fixture.tables { #expect(try fixture.trade(table) == .traded, "table \(table)") }
        #expect(fixture.mapping.privateBytes == 0)
        #expect(try fixture.take().isEmpty)
        for page in 0..<1024 { #expect(fixture.bytes(page)[100] == 0, "page \(page)") }
    }

    @Test("of a table that was traded, only what was stored to since is written", arguments: Mode.all)
    func onlyStored(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 512), offset: 0)
        for page in 0..<512 { fixture.store(1, page) }
        try fixture.commit()
        #expect(try fixture.trade(0) == .traded)
        fixture.store(2, 9)
        fixture.store(2, 300)
        try fixture.commit()
        #expect(try fixture.mapping.trade(0, to: home) == .copied(pages: 2))
        #expect(try fixture.trade(0) == .traded)
        for page in 0..<512 { #expect(fixture.bytes(page)[100] == (page == 9 || page == 300 ? 2 : 1), "page \(page)") }
    }

    @Test("a table whose bytes can't be had is left alone until it is stored to", arguments: Mode.all)
    func badTable(mode: Mode) throws {
        guard mode.demandFill else { return }
        let fixture = try fixture(mode, ("p", 1024), offset: 0)
        fixture.provider.state.withLock { _ = $0.broken.insert(100) }
        fixture.store(1, 400)
        fixture.store(1, 600)
        try fixture.commit()
        #expect(try fixture.mapping.coldTables().map(\.number).sorted() == [0, 1])
        #expect(throws: StoreError.self) { try fixture.trade(0) }
        #expect(try fixture.mapping.coldTables().map(\.number) == [1])
        #expect(try fixture.trade(1) == .traded)
        #expect(fixture.bytes(400)[100] == 1)
        fixture.provider.state.withLock { $0.broken = [] }
        fixture.store(2, 401)
        try fixture.commit()
        #expect(try fixture.mapping.coldTables().map(\.number) == [0])
        #expect(try fixture.trade(0) == .traded)
    }

    @Test("what would leave less room on the disk than is reserved stays in memory", arguments: Mode.all)
    func reserve(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 512), offset: 0)
        for page in 0..<512 { fixture.store(1, page) }
        try fixture.commit()
        let error = #expect(throws: StoreError.self) { try fixture.trade(0, ShadowHome(folder: "/tmp", reserve: 1 << 60)) }
        #expect(error?.code == .full)
        #expect(fixture.bytes(3)[100] == 1)
        let other = try self.fixture(mode, ("z", 512), offset: 0)
        for page in 0..<512 { other.store(1, page) }
        try other.commit()
        #expect(try other.trade(0, ShadowHome(folder: "/tmp", reserve: 1)) == .traded)
        #expect(other.bytes(3)[100] == 1)
    }

    @Test("what is stored to again and again is counted once where it matters", arguments: Mode.all)
    func countedOnce(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 1024), offset: 0)
        for _ in 0..<300 {
            fixture.store(1, 7)
            fixture.store(1, 600)
            _ = try fixture.take()
        }
        #expect(try fixture.mapping.coldTables().map(\.heldPages) == [1, 1])
        #expect(fixture.mapping.privateBytes == 2 << Page.shift)
    }

    @Test("trading a table again reads nothing of it that memory does not have", arguments: Mode.all)
    func readsNothing(mode: Mode) throws {
        let fixture = try fixture(mode, ("z", 512), offset: 0)
        for page in 0..<512 { fixture.store(1, page) }
        try fixture.commit()
        #expect(try fixture.trade(0) == .traded)
        let shadow = try #require(fixture.mapping.shadow)
        let start = fixture.mapping.pointer(toPage: 0)
        // No read ahead, so that one page is one page.
        madvise(start, 512 << Page.shift, Int32(MADV_RANDOM))
        #expect(posix_fadvise(shadow.descriptor, 0, 0, Int32(POSIX_FADV_DONTNEED)) == 0)
        fixture.store(2, 300)
        try fixture.commit()
        #expect(try fixture.trade(0) == .traded)
        var resident = [UInt8](repeating: 0, count: 512)
        #expect(mincore(start, 512 << Page.shift, &resident) == 0)
        #expect(resident.count { $0 & 1 != 0 } < 32)
        for page in 0..<512 { #expect(fixture.bytes(page)[100] == (page == 300 ? 2 : 1), "page \(page)") }
    }

    #if DEBUG
    @Test("a disk that has refused a copy is asked for it again", arguments: Mode.all.indices)
    func refusedWriteBack(mode: Int) async throws {
        await #expect(processExitsWith: .success) { [mode = mode as Int] in
            guardChild()
            let fixture = try Fixture(FakeProvider(("z", 512)), Mode.all[mode])
            for page in 0..<512 { fixture.store(1, page) }
            try fixture.commit()
            let table = fixture.tables.first { fixture.mapping.ages.held($0) > 0 }!
            let first = try fixture.mapping.trade(table, to: home)
            guard case .copied = first else { exit(2) }
            SystemCall.failureErrno.store(EIO, ordering: .relaxed)
            SystemCall.callsUntilFailure.store(0, ordering: .relaxed)
            var isRefused = false
            do { try fixture.mapping.settleCopies() } catch { isRefused = true }
            precondition(isRefused)
            // Nothing is settled: all is copied again.
            try fixture.mapping.settleCopies()
            let again = try fixture.mapping.trade(table, to: home)
            precondition(again == first)
            try fixture.trade(table)
            for page in 0..<512 { precondition(fixture.bytes(page)[100] == 1) }
            exit(0)
        }
    }

    @Test("whichever call of a trade fails, no byte changes and later stores are found", arguments: Mode.all.indices)
    func everyFailure(mode: Int) async throws {
        await #expect(processExitsWith: .success) { [mode = mode as Int] in
            guardChild()
            alarm(60)
            for number in 0..<200 {
                let fixture = try Fixture(FakeProvider(("z", 300), ("f", 300), ("p", 300)), Mode.all[mode])
                for page in 200..<330 { fixture.store(1, page) }
                for page in 500..<700 { fixture.store(1, page) }
                try fixture.commit()
                let model = (0..<900).map { fixture.bytes($0) }
                SystemCall.failureErrno.store(ENOMEM, ordering: .relaxed)
                SystemCall.callsUntilFailure.store(number, ordering: .relaxed)
                for table in fixture.tables { _ = try? fixture.trade(table) }
                let isInjected = SystemCall.callsUntilFailure.exchange(-1, ordering: .relaxed) < 0
                for page in 0..<900 { precondition(fixture.bytes(page) == model[page]) }
                for page in [1, 400, 899] { fixture.store(2, page) }
                let found = Set(try fixture.take())
                precondition(found.isSuperset(of: [1, 400, 899]))
                if !isInjected { exit(0) }
            }
            exit(1)
        }
    }
    #endif

    @Test("a file that a forked child shows changes no more")
    func retired() throws {
        let fixture = try fixture(Mode.all[0], ("z", 1536))
        let part = fixture.mapping.ages.pages(of: 1)
        for page in part.start..<part.end { fixture.store(1, page) }
        try fixture.commit()
        #expect(try fixture.trade(1) == .traded)
        let first = fixture.mapping.shadow?.generation
        fixture.mapping.retireShadow()
        for page in part.start..<part.end { fixture.store(2, page) }
        try fixture.commit()
        #expect(try fixture.trade(1) == .traded)
        #expect(fixture.mapping.shadow?.generation != first)
        for page in part.start..<part.end { #expect(fixture.bytes(page)[100] == 2) }
    }
}

/// Threads that load the first word of random pages, and count those that are not the page's number.
final class RacingReaders: Sendable {
    let mapping: ExclusiveMapping
    let pageCount: Int
    private let alive = Atomic<Int>(0)
    private let isStopping = Atomic<Bool>(false)
    private let wrong = Atomic<Int>(0)

    init(mapping: ExclusiveMapping, pageCount: Int) {
        self.mapping = mapping
        self.pageCount = pageCount
    }

    func start(threads: Int) {
        for _ in 0..<threads {
            alive.wrappingAdd(1, ordering: .sequentiallyConsistent)
            var thread = pthread_t()
            pthread_create(&thread, nil, racingReaderMain, Unmanaged.passRetained(self).toOpaque())
            pthread_detach(thread)
        }
    }

    /// Returns how many wrong words were seen.
    func stop() -> Int {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        while alive.load(ordering: .sequentiallyConsistent) > 0 { usleep(100) }
        return wrong.load(ordering: .sequentiallyConsistent)
    }

    fileprivate func run() {
        var random = SeededGenerator(seed: 7)
        while !isStopping.load(ordering: .relaxed) {
            let page = Int.random(in: 0..<pageCount, using: &random)
            if mapping.pointer(toPage: page).load(as: UInt64.self) != UInt64(page) | 1 << 40 {
                wrong.wrappingAdd(1, ordering: .relaxed)
            }
        }
        alive.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    }
}

private func racingReaderMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<RacingReaders>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
