import Glibc
import HostMemory
import Synchronization
import Testing
import TestSupport
import VMTypes

/// Threads that store to random pages through random mappings; each remembers what it stored last.
final class SharedWriters: @unchecked Sendable {
    private let targets: [UnsafeMutableRawPointer]
    private let pages: PageRange
    /// By thread, then by page: the byte that the page has at the thread's offset; -1 where it stored none.
    private var last: [UnsafeMutableBufferPointer<Int16>] = []
    private var limit = 0
    private let alive = Atomic<Int>(0)
    private let started = Atomic<Int>(0)

    /// The mappings must show `pages` until the threads have ended.
    init(_ mappings: [SharedMapping], pages: PageRange) {
        targets = mappings.map { $0.pointer(toPage: pages.start) }
        self.pages = pages
    }

    deinit { for buffer in last { buffer.deallocate() } }

    var running: Int { alive.load(ordering: .sequentiallyConsistent) }

    func start(threads: Int, stores: Int) {
        limit = stores
        for _ in 0..<threads {
            let buffer = UnsafeMutableBufferPointer<Int16>.allocate(capacity: pages.count)
            buffer.initialize(repeating: -1)
            last.append(buffer)
        }
        for _ in 0..<threads {
            alive.wrappingAdd(1, ordering: .sequentiallyConsistent)
            var thread = pthread_t()
            pthread_create(&thread, nil, sharedWriterMain, Unmanaged.passRetained(self).toOpaque())
            pthread_detach(thread)
        }
    }

    func wait() { while running > 0 { usleep(200) } }

    private func offset(_ thread: Int) -> Int { 1000 + thread * 64 }

    fileprivate func run() {
        let thread = started.wrappingAdd(1, ordering: .relaxed).oldValue
        var random = SeededGenerator(seed: UInt64(thread) + 100)
        for _ in 0..<limit {
            let page = Int.random(in: 0..<pages.count, using: &random)
            let value = UInt8.random(in: 0...255, using: &random)
            targets.randomElement(using: &random)!
                .storeBytes(of: value, toByteOffset: page << Page.shift + offset(thread), as: UInt8.self)
            last[thread][page] = Int16(value)
        }
        alive.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    }

    /// Committed bytes, and every last store, are in memory.
    func checkMarks(_ fixture: SharedFixture) {
        for page in pages.start..<pages.end {
            var expected = fixture.provider.bytes(page)
            for (thread, values) in last.enumerated() where values[page - pages.start] >= 0 {
                expected[offset(thread)] = UInt8(values[page - pages.start])
            }
            #expect(fixture.memory.bytes(page) == expected, "page \(page)")
        }
    }
}

private func sharedWriterMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<SharedWriters>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
