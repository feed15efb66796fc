@testable import CrashLab
import TestSupport
import Testing

/// What is left of a failure.
struct LeastTests {
    private static var far: ContinuousClock.Instant { .now + .seconds(60) }

    @Test(arguments: [[], [7], [0], [99], [3, 50], [0, 1, 2, 98, 99], Array(0..<100)])
    func onlyWhatIsNeededStays(needed: [Int]) throws {
        let least = try Least.of(Array(0..<100), until: Self.far) { (some) throws(LabError) in needed.allSatisfy(some.contains) }
        #expect(least == needed)
    }

    /// Either of two causes.
    @Test func oneOfTwoCausesStays() throws {
        let least = try Least.of(Array(0..<64), until: Self.far) { (some) throws(LabError) in some.contains(5) || some.contains(40) }
        #expect(least == [5] || least == [40])
    }

    @Test func whatIsWrongIsWrongWhenTheTimeIsOver() throws {
        let least = try Least.of([1, 2, 3], until: .now) { (_) throws(LabError) in false }
        #expect(least == [1, 2, 3])
    }

    @Test func theSmallestNumberIsFound() throws {
        #expect(try Least.number(below: 10, until: Self.far) { (number) throws(LabError) in number == 4 || number > 6 } == 4)
        #expect(try Least.number(below: 10, until: Self.far) { (_) throws(LabError) in false } == 10)
    }

    @Test func findingsOfAKindDifferInNumbers() {
        #expect(Least.kind(of: "transaction 0 is the last, and 12 was acknowledged") == Least.kind(of: "transaction 31 is the last, and 7 was acknowledged"))
        #expect(Least.kind(of: "page 7 is damaged") != Least.kind(of: "page 7 is gone"))
    }

    /// What the enumerator keeps is wrong still, and no larger than what it met.
    @Test(.enabled(if: LabPrograms.areBuilt, "needs the programs, built beside the tests"))
    func theKeptImageIsWrongStill() throws {
        let scratch = TemporaryFolder("crashlab-least", inMemory: true)
        var lab = LabPrograms.lab(LabPrograms.adapter("lmdb-nosync"), in: scratch)
        lab.mostFailures = 2
        let report = try lab.run(seed: UInt64.random(in: 0..<1 << 40))
        #expect(!report.failures.isEmpty)
        for failure in report.failures { #expect(try Failure.reproduce(failure.folder, scratch: scratch.path) != nil, "\(failure)") }
    }
}
