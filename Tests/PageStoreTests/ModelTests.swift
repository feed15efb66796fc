import Foundation
@testable import PageStore
import PageStoreModel
import Synchronization
import TestSupport
import Testing
import VMTypes

/// Random runs against plain dictionaries, several at a time. `VARVE_TEST_SEED` runs one seed alone.
@Suite struct ModelTests {
    private static let length = 300

    @Test func randomRunsMatchTheModel() {
        let wanted = ProcessInfo.processInfo.environment["VARVE_TEST_SEED"].flatMap(UInt64.init)
        let steps = wanted == nil ? Budget.of(quick: 9_000, default: 30_000, full: 120_000) : Self.length
        let count = steps / Self.length
        let first = wanted ?? UInt64.random(in: 0...UInt64.max / 2)
        print("model: \(count) runs of \(Self.length) steps from seed \(first)")
        let next = Atomic<Int>(0)
        let problems = Mutex<[String]>([])
        DispatchQueue.concurrentPerform(iterations: min(max(ProcessInfo.processInfo.activeProcessorCount, 1), 8)) { _ in
            while problems.withLock({ $0.count < 2 }) {
                let index = next.add(1, ordering: .relaxed).oldValue
                guard index < count else { break }
                if index % 100 == 99 { print("model: at seed \(first + UInt64(index))") }
                if let problem = problem(first + UInt64(index)) { problems.withLock { $0.append(problem) } }
            }
        }
        for problem in problems.withLock({ $0 }) { Issue.record("\(problem)") }
        print("model: \(min(next.load(ordering: .relaxed), count) * Self.length) steps done")
    }

    /// What goes wrong with `seed`, with a short sequence that still shows it.
    private func problem(_ seed: UInt64) -> String? {
        let steps = ModelRun.steps(Self.length, seed: seed)
        let retention = 1 + Int(seed % 4)
        guard let problem = ModelRun.problem(steps, retention) else { return nil }
        let short = shrink(steps, attempts: Budget.of(quick: 30, default: 300, full: 300)) { ModelRun.problem($0, retention) != nil }
        let list = short.map(\.description).joined(separator: ", ")
        let last = ModelRun.problem(short, retention) ?? "passes now"
        return "seed \(seed), retention \(retention): \(problem)\nshrunk to \(short.count): [\(list)]\n\(last)"
    }
}
