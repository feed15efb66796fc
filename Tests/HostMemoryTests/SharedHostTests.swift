import Glibc
import HostMemory
import Testing
import TestSupport
import VMTypes

@Suite("Arenas, descriptors and advice")
struct SharedHostTests {
    @Test("a slice that is used again reads as zeros, and has nothing to do with others", arguments: Mode.all)
    func slices(mode: Mode) throws {
        var random = SeededGenerator(seed: 1)
        let arena = try MemoryArena(pageCount: 400)
        var live: [(fixture: SliceFixture, value: UInt8)] = []
        for step in 0..<300 {
            if live.count > 12 || (step > 50 && Bool.random(using: &random) && !live.isEmpty) {
                live.remove(at: Int.random(in: 0..<live.count, using: &random))
                continue
            }
            let count = Int.random(in: 1...20, using: &random)
            let isFilled = Bool.random(using: &random)
            let made = try SliceFixture(arena, FakeProvider((isFilled ? "p" : "z", count)), mode)
            for page in 0..<count { #expect(made.mapping.bytes(page) == made.provider.bytes(page), "step \(step)") }
            let value = UInt8(truncatingIfNeeded: step)
            for page in 0..<count { made.mapping.store(value, page) }
            live.append((made, value))
            for slice in live {
                for page in 0..<slice.fixture.provider.pageCount {
                    var expected = slice.fixture.provider.bytes(page)
                    expected[100] = slice.value
                    #expect(slice.fixture.mapping.bytes(page) == expected, "step \(step)")
                }
            }
        }
    }

    @Test("an arena that is full says so, and has room again")
    func full() throws {
        let mode = Mode.all[0]
        let arena = try MemoryArena(pageCount: 10)
        var slices = try (0..<5).map { _ in try SliceFixture(arena, FakeProvider(("z", 2)), mode) }
        do {
            _ = try SliceFixture(arena, FakeProvider(("z", 1)), mode)
            Issue.record("more than all was given")
        } catch let error as StoreError {
            #expect(error.code == .full)
        }
        slices.remove(at: 3)
        #expect(throws: StoreError.self) { try SliceFixture(arena, FakeProvider(("z", 3)), mode) }
        slices.remove(at: 2)
        _ = try SliceFixture(arena, FakeProvider(("z", 4)), mode)
        slices = []
        let all = try SliceFixture(arena, FakeProvider(("z", 10)), mode)
        #expect(throws: StoreError.self) { try all.memory.makeDescriptor(readOnly: true) }
    }

    @Test("neighbouring slices at neighbouring addresses are one mapping")
    func merging() throws {
        let mode = Mode.all[0]
        let arena = try MemoryArena(pageCount: 100)
        let window = try AddressWindow(base: nil, byteCount: 64 << Page.shift)
        var mappings: [SharedMapping] = []
        for index in 0..<8 {
            let memory = try SharedMemory(
                pageCount: 2, provider: FakeProvider(("z", 2)), tracking: mode.tracking, demandFill: mode.demandFill,
                arena: arena)
            mappings.append(
                try memory.map(
                    at: window.base + UInt64(index * 2 << Page.shift), pages: PageRange(start: 0, count: 2),
                    protection: .default, writable: true))
        }
        #expect(try kernelMappings(in: window) == 2)
        for mapping in mappings { mapping.unmap() }
        #expect(try kernelMappings(in: window) == 1)
    }

    @Test("descriptors show the same bytes, and a read-only one can't be mapped writable", arguments: Mode.all)
    func descriptors(mode: Mode) throws {
        let fixture = try SharedFixture(FakeProvider(mixedLayout()), mode)
        fixture.mappings[0].store(9, 120)
        let length = fixture.pageCount << Page.shift
        let writable = try fixture.memory.makeDescriptor(readOnly: false)
        let readOnly = try fixture.memory.makeDescriptor(readOnly: true)
        defer { for descriptor in [writable, readOnly] { close(descriptor) } }
        for descriptor in [writable, readOnly] { #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0) }
        #expect(mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, readOnly, 0) == MAP_FAILED)
        let seen = try #require(mmap(nil, length, PROT_READ, MAP_SHARED, readOnly, 0))
        #expect(mprotect(seen, length, PROT_READ | PROT_WRITE) == -1)
        for page in 0..<fixture.pageCount where page != 120 {
            #expect(memcmp(seen + page << Page.shift, fixture.provider.bytes(page), Page.size) == 0, "page \(page)")
        }
        let other = try #require(mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, writable, 0))
        other.storeBytes(of: 44, toByteOffset: 5 << Page.shift, as: UInt8.self)
        #expect(fixture.mappings[0].bytes(5)[0] == 44)
        #expect(seen.load(fromByteOffset: 120 << Page.shift + 100, as: UInt8.self) == 9)
        #expect(try fixture.memory.presentRuns(in: PageRange(start: 5, count: 1)) == [PageRange(start: 5, count: 1)])
        #expect(ftruncate(writable, 0) == -1)
        var status = stat()
        #expect(fstat(writable, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(throws: StoreError.self) { try fixture.memory.discard([PageRange(start: 100, count: 10)]) }
        munmap(seen, length)
        munmap(other, length)
    }

    @Test("advice and wiring change no byte and no dirty set", arguments: SharedMode.all)
    func advice(mode: SharedMode) throws {
        let fixture = try SharedFixture(FakeProvider(mixedLayout()), mode.mode, inArena: mode.inArena)
        let mapping = fixture.mappings[0]
        for page in 0..<fixture.pageCount { _ = mapping.bytes(page) }
        _ = try mapping.take()
        mapping.store(3, 120)
        let all = PageRange(start: 0, count: fixture.pageCount)
        for behavior in MemoryBehavior.allCases where !behavior.changesBytes {
            try Population.advise(address: mapping.address, byteCount: all.count << Page.shift, behavior)
        }
        try mapping.protect(PageRange(start: 130, count: 5), .none)
        let some = PageRange(start: 100, count: 60)
        try mapping.wire(some, true)
        #expect(try fixture.memory.residentRuns(in: some) == [some])
        let start = mapping.address + UInt64((some.start - mapping.pages.start) << Page.shift)
        try Population.advise(address: start, byteCount: some.count << Page.shift, .dontNeed)
        try mapping.wire(some, false)
        try mapping.protect(PageRange(start: 130, count: 5), .default)
        #expect(try mapping.take() == [120])
        for page in 0..<fixture.pageCount where page != 120 { #expect(mapping.bytes(page) == fixture.provider.bytes(page)) }
    }

    @Test("more than the process may lock is an error that says so")
    func lockLimit() async {
        await #expect(processExitsWith: .exitCode(7)) {
            guardChild()
            let fixture = try SharedFixture(FakeProvider(("z", 64)), tested(false))
            var limit = rlimit(rlim_cur: 4096, rlim_max: 4096)
            setrlimit(__rlimit_resource_t(8), &limit)
            // Root may lock what it likes.
            guard getuid() == 0 ? setuid(65534) == 0 : true else { exit(3) }
            do {
                try fixture.mappings[0].wire(PageRange(start: 0, count: 64), true)
            } catch let error as StoreError where error.code == .full {
                exit(error.advice.isEmpty ? 4 : 7)
            }
        }
    }

    private func kernelMappings(in window: AddressWindow) throws -> Int {
        let file = try #require(fopen("/proc/self/maps", "r"))
        defer { fclose(file) }
        var count = 0
        var line = [CChar](repeating: 0, count: 4096)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let bounds = text.prefix { $0 != " " }.split(separator: "-")
            guard bounds.count == 2, let start = UInt64(bounds[0], radix: 16) else { continue }
            if start >= window.base && start < window.base + UInt64(window.byteCount) { count += 1 }
        }
        return count
    }
}

/// A slice, mapped in a window of its own.
final class SliceFixture {
    let window: AddressWindow
    let provider: FakeProvider
    let memory: SharedMemory
    let mapping: SharedMapping

    init(_ arena: MemoryArena, _ provider: FakeProvider, _ mode: Mode) throws {
        self.provider = provider
        let count = provider.pageCount
        window = try AddressWindow(base: nil, byteCount: count << Page.shift)
        memory = try SharedMemory(
            pageCount: count, provider: provider, tracking: mode.tracking, demandFill: mode.demandFill, arena: arena)
        mapping = try memory.map(
            at: window.base, pages: PageRange(start: 0, count: count), protection: .default, writable: true)
    }

    deinit {
        mapping.unmap()
        window.release()
    }
}
