import Foundation
@testable import PageStore
import PageStoreModel
import TestSupport
import Testing
import VMTypes

/// Random runs against plain dictionaries. `VARVE_TEST_SEED` runs one seed alone.
@Suite struct ModelTests {
    private static let length = 300

    @Test func randomRunsMatchTheModel() {
        let wanted = ProcessInfo.processInfo.environment["VARVE_TEST_SEED"].flatMap(UInt64.init)
        let count = wanted == nil ? Budget.of(quick: 10, default: 25, full: 110) : 1
        let first = wanted ?? UInt64.random(in: 0...UInt64.max / 2)
        print("model: \(count) runs of \(Self.length) steps from seed \(first)")
        var failures = 0
        for index in 0..<UInt64(count) {
            if failures == 2 { break }
            if wanted == nil, Budget.name == "full", index % 50 == 0 { print("model: at seed \(first + index)") }
            if !passes(first + index) { failures += 1 }
        }
    }

    private func passes(_ seed: UInt64) -> Bool {
        let steps = ModelRun.steps(Self.length, seed: seed)
        let retention = 1 + Int(seed % 4)
        guard let problem = ModelRun.problem(steps, retention) else { return true }
        let short = shrink(steps) { ModelRun.problem($0, retention) != nil }
        let list = short.map(\.description).joined(separator: ", ")
        let last = ModelRun.problem(short, retention) ?? "passes now"
        Issue.record("seed \(seed), retention \(retention): \(problem)\nshrunk to \(short.count): [\(list)]\n\(last)")
        return false
    }
}
