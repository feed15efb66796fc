import Glibc
import Synchronization
import Testing
import VMTypes

@testable import HostMemory

/// Our own background threads sleep while page tables are armed, and go on.
@Suite("Companion threads", .serialized) struct CompanionTests {
    /// A thread that counts until it is told to end.
    final class Counting: @unchecked Sendable {
        let count = Atomic<Int>(0)
        let ends = Atomic<Bool>(false)
        let isCompanion: Bool
        private var thread = pthread_t()

        init(isCompanion: Bool) {
            self.isCompanion = isCompanion
            let context = Unmanaged.passRetained(self).toOpaque()
            pthread_create(&thread, nil, { Unmanaged<Counting>.fromOpaque($0!).takeRetainedValue().run() }, context)
        }

        private func run() -> UnsafeMutableRawPointer? {
            let slot = isCompanion ? CompanionThread.begin() : -1
            while !ends.load(ordering: .relaxed) { count.add(1, ordering: .relaxed) }
            if isCompanion { CompanionThread.end(slot) }
            return nil
        }

        var now: Int { count.load(ordering: .relaxed) }

        /// Waits until the thread counts; false after ten seconds.
        func moves() -> Bool {
            let before = now
            for _ in 0..<10_000 {
                if now != before { return true }
                usleep(1_000)
            }
            return false
        }

        /// Waits until the thread has not counted for a while; false after ten seconds.
        func stands() -> Bool {
            for _ in 0..<100 {
                let before = now
                usleep(100_000)
                if now == before { return true }
            }
            return false
        }

        func end() {
            ends.store(true, ordering: .relaxed)
            pthread_join(thread, nil)
        }
    }

    @Test func aCompanionSleepsWhileItIsToldAndGoesOn() {
        let thread = Counting(isCompanion: true)
        defer { thread.end() }
        #expect(thread.moves())
        var stood = false
        for _ in 0..<3 {
            _ = CompanionThread.whileAsleep {
                stood = thread.stands()
                return 0
            }
            #expect(stood)
            #expect(thread.moves())
        }
    }

    @Test func otherThreadsGoOn() {
        let companion = Counting(isCompanion: true), other = Counting(isCompanion: false)
        defer {
            companion.end()
            other.end()
        }
        #expect(companion.moves() && other.moves())
        var moved = false
        _ = CompanionThread.whileAsleep {
            moved = other.moves()
            return 0
        }
        #expect(moved)
    }

    @Test func whoAsksIsNotPutToSleep() {
        let slot = CompanionThread.begin()
        defer { CompanionThread.end(slot) }
        #expect(CompanionThread.whileAsleep { 7 } == 7)
    }

    @Test func severalMaySendThemToSleepAtOnce() {
        let thread = Counting(isCompanion: true)
        defer { thread.end() }
        #expect(thread.moves())
        var stood = false
        _ = CompanionThread.whileAsleep {
            _ = CompanionThread.whileAsleep { 0 }
            // The inner one has ended: the outer one's word still counts.
            stood = thread.stands()
            return 0
        }
        #expect(stood)
        #expect(thread.moves())
    }

    @Test("scans beside a companion find every store", .enabled(if: HostCapabilities.current.asyncWriteProtect))
    func scansFindWhatWasStored() throws {
        let thread = Counting(isCompanion: true)
        defer { thread.end() }
        let fixture = try Fixture(
            FakeProvider(mixedLayout()), Mode(tracking: .asyncWriteProtect, demandFill: HostCapabilities.current.demandFaults))
        let count = fixture.provider.pageCount
        _ = try fixture.take()
        for round in 1...50 {
            let pages = stride(from: round % 3, to: count, by: 3)
            for page in pages { fixture.store(UInt8(round), page) }
            #expect(try fixture.take() == Array(pages))
            #expect(thread.moves())
        }
    }
}
