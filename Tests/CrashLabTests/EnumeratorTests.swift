import CrashLab
import Foundation
import PageStore
import TestSupport
import Testing

/// Layer 1 of the crash lab on the page store: every image that a power cut may leave is one that opens to what was acknowledged.
@Suite(.enabled(if: LabPrograms.areBuilt, "needs the programs, built beside the tests"))
struct EnumeratorTests {
    let scratch = TemporaryFolder("crashlab", inMemory: true)

    private func base() throws -> String {
        let folder = scratch.path + "/base"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        _ = try PageStore.create(in: folder, options: .init(ringBytes: 256 << 10))
        let store = try PageStore.open(folder)
        _ = try store.commit([], operations: [.setRetention(Retention(versions: 4, seconds: 0))])
        try store.close()
        return folder
    }

    @Test func powerCutsLeaveWhatWasAcknowledged() throws {
        let environment = ProcessInfo.processInfo.environment
        let wanted = environment["VARVE_CRASHLAB_STATES"].flatMap(Int.init) ?? Budget.of(quick: 300, default: 2000, full: 20_000)
        let first = environment["VARVE_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max / 2)
        let enumerator = Enumerator(
            work: [LabPrograms.child, "work"], check: [LabPrograms.child, "check"], recorder: LabPrograms.recorder, scratch: scratch.path)
        let base = try base()
        var distinct = 0, points = 0, seed = first
        let start = Date()
        while distinct < wanted {
            let report = try enumerator.run(base: base, seed: seed, limit: wanted - distinct)
            for violation in report.violations.prefix(3) { Issue.record("\(violation)") }
            #expect(report.acknowledgements > 0 && report.distinct > 0)
            distinct += report.distinct
            points += report.points
            seed += 1
            if !report.violations.isEmpty { break }
        }
        let seconds = Date().timeIntervalSince(start)
        print("enumerator: \(distinct) states at \(points) moments of \(seed - first) runs from seed \(first), \(Int(Double(distinct) / seconds)) a second")
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
