import TestSupport
import Testing
import VMTypes

@testable import VirtualMemory

@Suite struct PageRangesTests {
    /// Against sets of pages.
    @Test func whatIsOutsideOfOthers() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        func runs() -> [PageRange] {
            (0..<Int.random(in: 0..<8, using: &random)).map { _ in
                PageRange(start: .random(in: 0..<60, using: &random), count: .random(in: 1..<12, using: &random))
            }
        }
        func pages(_ runs: [PageRange]) -> Set<Int> { Set(runs.flatMap { Array($0.start..<$0.end) }) }
        for _ in 0..<20_000 {
            let (some, others) = (runs(), runs())
            let found = some.subtracting(others)
            #expect(pages(found) == pages(some).subtracting(pages(others)), "seed \(seed): \(some) without \(others)")
            #expect(zip(found, found.dropFirst()).allSatisfy { $0.end <= $1.start }, "seed \(seed): \(found)")
        }
    }
}
