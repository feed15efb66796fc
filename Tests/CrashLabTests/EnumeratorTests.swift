import CrashLab
import Foundation
import TestSupport
import Testing

/// Layer 1 of the crash lab on the page store: every image that a power cut may leave is one that opens to what was acknowledged.
@Suite(.enabled(if: LabPrograms.areBuilt, "needs the programs, built beside the tests"))
struct EnumeratorTests {
    let scratch = TemporaryFolder("crashlab", inMemory: true)

    @Test func powerCutsLeaveWhatWasAcknowledged() throws {
        let environment = ProcessInfo.processInfo.environment
        let wanted = environment["VARVE_CRASHLAB_STATES"].flatMap(Int.init) ?? Budget.of(quick: 300, default: 2000, full: 5000)
        let first = environment["VARVE_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max / 2)
        let kept = environment["VARVE_CRASHLAB_KEEP"] ?? scratch.path
        let lab = Enumerator(
            adapter: Adapter([LabPrograms.child]), recorder: LabPrograms.recorder, scratch: scratch.path, failures: kept)
        var report = Enumerator.Report()
        var seed = first
        let start = Date()
        while report.distinct < wanted, report.failures.isEmpty {
            report.add(try lab.run(seed: seed, limit: min(wanted - report.distinct, max(wanted / 4, 1000))))
            seed += 1
        }
        for failure in report.failures.prefix(3) { Issue.record("\(failure)") }
        #expect(report.acknowledgements > 0)
        let seconds = Date().timeIntervalSince(start)
        print(
            "enumerator: \(report.distinct) states at \(report.moments) moments of \(report.runs) runs from seed \(first), "
                + "\(report.recoveries) recoveries cut, \(Int(Double(report.distinct) / seconds)) a second")
    }

    /// The lab sees: where the disk forgets what one file's flushes promised, acknowledged commits are gone.
    @Test(arguments: ["journal", "pages.lmdb"])
    func flushesThatCountForNothingAreNoticed(file: String) throws {
        var lab = Enumerator(
            adapter: Adapter([LabPrograms.child]), recorder: LabPrograms.recorder, scratch: scratch.path, failures: scratch.path)
        lab.lying = [file]
        lab.mostFailures = 3
        lab.recoveryEvery = 0
        var failures: [Failure] = []
        for seed in UInt64(0)..<4 where failures.isEmpty { failures = try lab.run(seed: seed, limit: 500).failures }
        #expect(!failures.isEmpty, "a store whose \(file) was never flushed lost nothing")
        print("lying about \(file): \(failures.first.map(\.description) ?? "nothing")")
    }
}

enum LabPrograms {
    private static let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    private static let candidates = [folder.path] + CommandLine.arguments.map { ($0 as NSString).deletingLastPathComponent }

    private static func find(_ name: String) -> String {
        candidates.map { $0 + "/" + name }.first { FileManager.default.fileExists(atPath: $0) } ?? ""
    }

    static let child = find("varve-crash-child")
    static let recorder = find("libvarve-crash-recorder.so")
    static var areBuilt: Bool { !child.isEmpty && !recorder.isEmpty }
}
