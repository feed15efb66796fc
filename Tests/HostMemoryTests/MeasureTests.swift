import Glibc
import HostMemory
import Testing
import TestSupport
import VMTypes

/// Prints how long things take; run with VARVE_MEASURE=1, in a release build. Asserts nothing about time.
@Suite("Measurements", .enabled(if: getenv("VARVE_MEASURE") != nil), .serialized)
struct MeasureTests {
    private static let count = 262_144

    private func milliseconds(_ body: () throws -> Void) rethrows -> Double {
        let time = try ContinuousClock().measure(body)
        return Double(time.components.attoseconds) / 1e15 + Double(time.components.seconds) * 1000
    }

    private func median(_ rounds: Int, _ body: () throws -> Double) rethrows -> Double {
        var values: [Double] = []
        for _ in 0..<rounds { values.append(try body()) }
        return values.sorted()[rounds / 2]
    }

    @Test("1 GiB with 100,000 scattered pages to fill", arguments: Mode.all)
    func aged(mode: Mode) throws {
        guard mode.demandFill else { return }
        var random = SeededGenerator(seed: 1)
        var filled = [Bool](repeating: false, count: Self.count)
        for _ in 0..<100_000 { filled[Int.random(in: 0..<Self.count, using: &random)] = true }
        let provider = RunsProvider(filled)
        let window = try AddressWindow(base: nil, byteCount: Self.count << Page.shift)
        let time = try median(9) {
            var mapping: ExclusiveMapping?
            let time = try milliseconds {
                mapping = try ExclusiveMapping(
                    address: window.base, pages: PageRange(start: 0, count: Self.count), provider: provider,
                    writable: true, tracking: mode.tracking, demandFill: true)
            }
            mapping!.unmap()
            return time
        }
        let listing = milliseconds { _ = try? provider.runs(in: PageRange(start: 0, count: Self.count)) }
        print("measure [\(mode)]: map aged 1 GiB \(time) ms, of which listing \(provider.runCount) runs \(listing) ms")
        let mapping = try ExclusiveMapping(
            address: window.base, pages: PageRange(start: 0, count: Self.count), provider: provider,
            writable: true, tracking: mode.tracking, demandFill: true)
        var sum = 0
        let faults = milliseconds {
            for page in stride(from: 0, to: Self.count, by: 512) {
                sum += Int(mapping.pointer(toPage: page).load(as: UInt8.self))
            }
        }
        var runs: [PageRange] = []
        let first = try milliseconds { try mapping.takeDirty(into: &runs) }
        let second = try milliseconds { try mapping.takeDirty(into: &runs) }
        print("measure [\(mode)]: 512 demand faults \(faults) ms (sum \(sum)); first take \(first) ms (\(runs.count) runs), next \(second) ms")
        mapping.unmap()
    }

    @Test("commits of one page in 1 GiB resident", arguments: DirtyTracking.allCases)
    func resident(tracking: DirtyTracking) throws {
        let fixture = try Fixture(
            FakeProvider(("z", Self.count)), Mode(tracking: tracking, demandFill: HostCapabilities.current.demandFaults))
        var runs: [PageRange] = []
        runs.reserveCapacity(1000)
        let untouched = try (0..<4).map { _ in try milliseconds { try fixture.mapping.takeDirty(into: &runs) } }
        let build = milliseconds { for page in 0..<Self.count { fixture.store(1, page) } }
        let first = try milliseconds { try fixture.mapping.takeDirty(into: &runs) }
        print("measure [\(tracking)]: untouched takes \(untouched) ms; storing to all \(build) ms; first take \(first) ms, \(runs.count) runs")
        var random = SeededGenerator(seed: 2)
        let take = try median(101) {
            fixture.store(2, Int.random(in: 0..<Self.count, using: &random))
            runs.removeAll(keepingCapacity: true)
            return try milliseconds { try fixture.mapping.takeDirty(into: &runs) }
        }
        let pages = (0..<1000).map { _ in Int.random(in: 0..<Self.count, using: &random) }
        let store = milliseconds { for page in pages { fixture.store(3, page) } }
        let thousand = try milliseconds { try fixture.mapping.takeDirty(into: &runs) }
        print("measure [\(tracking)]: take of 1 page \(take) ms; of 1000 pages \(thousand) ms; first store after a take \(store) µs")
    }
}

/// Gives runs from an array that is ready.
final class RunsProvider: PageProvider {
    let fileDescriptor: Int32 = -1
    let filled: [Bool]
    let runCount: Int

    init(_ filled: [Bool]) {
        self.filled = filled
        runCount = 1 + zip(filled, filled.dropFirst()).count { $0 != $1 }
    }

    func runs(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)] {
        var runs: [(pages: PageRange, kind: RunKind)] = []
        runs.reserveCapacity(range.count == filled.count ? runCount : 64)
        var start = range.start
        while start < range.end {
            var end = start + 1
            while end < range.end && filled[end] == filled[start] { end += 1 }
            runs.append((PageRange(start: start, count: end - start), filled[start] ? .fill : .zero))
            start = end
        }
        return runs
    }

    func fill(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
        memset(destination, 7, range.count << Page.shift)
    }
}
