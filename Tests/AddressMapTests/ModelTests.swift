import AddressMap
import TestSupport
import Testing

@Suite struct ModelTests {
    @Test(arguments: [(8, 4_000), (40, 3_000), (600, 600)] as [(UInt64, Int)], 1...4 as ClosedRange<UInt64>)
    func randomCallsAgreeWithThePageModel(size: (pages: UInt64, calls: Int), salt: UInt64) {
        let seed = salt &* 0x9e37_79b9 ^ size.pages
        var random = SeededGenerator(seed: seed)
        let operations = (0..<size.calls).map { _ in Operation.random(pages: size.pages, using: &random) }
        guard ModelRun.difference(pages: size.pages, operations) != nil else { return }
        let shrunk = shrink(operations) { ModelRun.difference(pages: size.pages, $0) != nil }
        let difference = ModelRun.difference(pages: size.pages, shrunk) ?? ""
        Issue.record("seed \(seed), \(size.pages) pages: \(shrunk)\n\(difference)")
    }

    /// The smallest sequence found, by leaving out ever shorter runs, that still fails.
    private func shrink(_ operations: [Operation], fails: ([Operation]) -> Bool) -> [Operation] {
        var current = operations
        var length = max(current.count / 2, 1)
        while true {
            var start = 0
            var shorter = false
            while start < current.count {
                var attempt = current
                attempt.removeSubrange(start..<min(start + length, current.count))
                if fails(attempt) {
                    current = attempt
                    shorter = true
                } else {
                    start += length
                }
            }
            if length == 1 && !shorter { return current }
            length = max(length / 2, 1)
        }
    }
}
