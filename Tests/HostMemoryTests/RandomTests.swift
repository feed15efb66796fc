import Glibc
import HostMemory
import Synchronization
import Testing
import TestSupport
import VMTypes

@Suite("Random histories")
struct RandomTests {
    @Test("stores, commits, aborts and loads agree with a model", arguments: Mode.all, [1, 2, 3] as [UInt64])
    func model(mode: Mode, seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var layout: [Character] = []
        while layout.count < 1500 {
            let letter = "zfp".randomElement(using: &random)!
            layout += Array(repeating: letter, count: Int.random(in: 1...90, using: &random))
        }
        let count = layout.count
        let fixture = try Fixture(FakeProvider(layout), mode, offset: Int.random(in: 0..<700, using: &random))
        var model: [[UInt8]] = (0..<count).map { fixture.provider.bytes($0) }
        var dirty: Set<Int> = []
        for step in 0..<400 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<6:
                for _ in 0..<Int.random(in: 1...30, using: &random) {
                    let page = Int.random(in: 0..<count, using: &random)
                    let offset = Int.random(in: 0..<Page.size, using: &random)
                    let value = UInt8.random(in: 0...255, using: &random)
                    fixture.store(value, page, offset)
                    model[page][offset] = value
                    dirty.insert(page)
                }
            case 6:
                #expect(try fixture.peek() == dirty.sorted(), "seed \(seed), step \(step)")
            case 7:
                let taken = try fixture.take()
                #expect(taken == dirty.sorted(), "seed \(seed), step \(step)")
                for page in taken { fixture.provider.commit(page, fixture.bytes(page)) }
                dirty = []
            case 8:
                var pages = dirty.filter { _ in Bool.random(using: &random) }
                for _ in 0..<3 { pages.insert(Int.random(in: 0..<count, using: &random)) }
                var runs: [PageRange] = []
                for page in pages.sorted() {
                    if let last = runs.last, last.end == page { runs[runs.count - 1].count += 1 } else {
                        runs.append(PageRange(start: page, count: 1))
                    }
                }
                try fixture.mapping.restore(runs)
                for page in pages {
                    model[page] = fixture.provider.bytes(page)
                    dirty.remove(page)
                }
            default:
                for _ in 0..<20 {
                    let page = Int.random(in: 0..<count, using: &random)
                    #expect(fixture.bytes(page) == model[page], "seed \(seed), step \(step), page \(page)")
                }
            }
        }
        for page in 0..<count { #expect(fixture.bytes(page) == model[page], "seed \(seed), page \(page)") }
    }

    @Test("no store of racing writers is lost", arguments: Mode.all)
    func racingWriters(mode: Mode) throws {
        let count = 700
        let fixture = try Fixture(FakeProvider(("z", 300), ("f", 200), ("p", 200)), mode)
        let mapping = fixture.mapping
        var copy = (0..<count).map { fixture.provider.bytes($0) }
        let writers = RacingWriters(mapping: mapping, pageCount: count)
        writers.start(threads: 3, stores: mode.tracking == .signal ? 8_000 : 40_000)
        var rounds = 0
        var runs: [PageRange] = []
        while true {
            let wasRunning = writers.running > 0
            runs.removeAll(keepingCapacity: true)
            try mapping.takeDirty(into: &runs)
            for run in runs {
                for page in run.start..<run.end { copy[page] = fixture.bytes(page) }
            }
            rounds += 1
            if !wasRunning { break }
        }
        for page in 0..<count { #expect(copy[page] == fixture.bytes(page), "page \(page) after \(rounds) rounds") }
        #expect(try fixture.take().isEmpty)
    }
}

/// Threads that store random bytes to random pages.
final class RacingWriters: Sendable {
    let mapping: ExclusiveMapping
    let pageCount: Int
    private let alive = Atomic<Int>(0)
    private let limit = Atomic<Int>(0)
    private let seed = Atomic<UInt64>(1)

    init(mapping: ExclusiveMapping, pageCount: Int) {
        self.mapping = mapping
        self.pageCount = pageCount
    }

    var running: Int { alive.load(ordering: .sequentiallyConsistent) }

    func start(threads: Int, stores: Int) {
        limit.store(stores, ordering: .relaxed)
        for _ in 0..<threads {
            alive.wrappingAdd(1, ordering: .sequentiallyConsistent)
            var thread = pthread_t()
            pthread_create(&thread, nil, racingWriterMain, Unmanaged.passRetained(self).toOpaque())
            pthread_detach(thread)
        }
    }

    fileprivate func run() {
        var random = SeededGenerator(seed: seed.wrappingAdd(1, ordering: .relaxed).newValue)
        for _ in 0..<limit.load(ordering: .relaxed) {
            let page = Int.random(in: 0..<pageCount, using: &random)
            let offset = Int.random(in: 0..<Page.size, using: &random)
            mapping.pointer(toPage: page).storeBytes(
                of: UInt8.random(in: 0...255, using: &random), toByteOffset: offset, as: UInt8.self)
        }
        alive.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    }
}

private func racingWriterMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<RacingWriters>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
