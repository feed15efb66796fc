@testable import CrashLab
import Foundation
import TestSupport
import Testing

/// The layers that need no privilege, on stores of which it is known what they are.
@Suite(.enabled(if: LabPrograms.areBuilt, "needs the programs, built beside the tests"))
struct LayerTests {
    let scratch = TemporaryFolder("crashlab-layers", inMemory: true)
    private static let seed = ProcessInfo.processInfo.environment["VARVE_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0..<1 << 40)

    private func settings(_ name: String, seconds: Double, states: Int = .max) -> LayerSettings {
        var settings = LayerSettings(
            adapter: LabPrograms.layered(name), recorder: LabPrograms.recorder, scratch: scratch.path, failures: scratch.path, seed: Self.seed)
        settings.seconds = seconds
        settings.states = states
        return settings
    }

    private func expectClean(_ report: LayerReport) {
        for failure in report.failures.prefix(3) { Issue.record("\(failure)") }
        #expect(report.states > 0 && report.acknowledgements > 0)
        print("\(report.layer): \(report.states) states, \(report.counts), seed \(Self.seed)")
    }

    /// What two processors look at in less than a minute, each.
    private static let states = Budget.of(quick: 8, default: 40, full: 500)
    private static let faults = Budget.of(quick: 8, default: 40, full: 400)
    private static let damages = Budget.of(quick: 8, default: 200, full: 1000)
    private static let bits = Budget.of(quick: 20, default: 500, full: 6000)

    // MARK: Kills

    @Test func killsLoseNothingOfOurStore() throws {
        let report = try Kills.run(settings("varve", seconds: 120, states: Self.states))
        expectClean(report)
        #expect(report.counts.contains { $0.name == "kills" && $0.value > 0 })
    }

    @Test(arguments: ["lmdb", "sqlite-off"]) func killsDoNotSeeMissingFlushes(name: String) throws {
        expectClean(try Kills.run(settings(name == "lmdb" ? "lmdb-nosync" : name, seconds: 1)))
    }

    // MARK: Faults

    @Test func failedCallsLoseNothingOfOurStore() throws {
        let report = try Faults.run(settings("varve", seconds: 120, states: Self.faults))
        expectClean(report)
        #expect(report.counts.contains { $0.name == "errors that were told" && $0.value > 0 })
    }

    @Test func failedCallsLoseNothingOfSQLite() throws { expectClean(try Faults.run(settings("sqlite", seconds: 2))) }

    // MARK: Bad files

    @Test func damageOfOurStoreIsNoticed() throws { expectClean(try BadFiles.run(settings("varve", seconds: 120, states: Self.damages))) }

    @Test func flippedBitsOfASmallStoreAreNoticed() throws { expectClean(try EveryBit.run(settings("varve", seconds: 120, states: Self.bits))) }

    /// LMDB has no checksums.
    @Test func damageOfLMDBIsNot() throws {
        var settings = settings("lmdb", seconds: 20)
        settings.mostFailures = 1
        let failure = try #require(try BadFiles.run(settings).failures.first)
        #expect(try Failure.reproduce(failure.folder, scratch: scratch.path) != nil)
    }

    /// Each layer sees what is wrong with a file that is written in its place.
    @Test(arguments: ["kills", "faults", "bad-files", "bits"]) func aCarelessStoreIsFound(layer: String) throws {
        var settings = settings("plain-file", seconds: 20)
        settings.mostFailures = 1
        let layers = ["kills": Kills.run, "faults": Faults.run, "bad-files": BadFiles.run, "bits": EveryBit.run]
        let report = try layers[layer]!(settings)
        #expect(report.layer == layer && !report.failures.isEmpty)
    }

    @Test func whatCanNotInspectIsSkipped() throws {
        var settings = settings("lmdb", seconds: 1)
        settings.adapter.inspect = nil
        #expect(try BadFiles.run(settings).skipped != nil)
    }
}
