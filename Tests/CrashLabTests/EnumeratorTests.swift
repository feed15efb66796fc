@testable import CrashLab
import Foundation
import TestSupport
import Testing

/// Layer 1 of the crash lab on our own store: every image that a power cut may leave is one that opens to what was acknowledged.
@Suite(.enabled(if: LabPrograms.areBuilt, "needs the programs, built beside the tests"))
struct EnumeratorTests {
    let scratch = TemporaryFolder("crashlab", inMemory: true)
    private static let environment = ProcessInfo.processInfo.environment
    private static let first = environment["VARVE_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0..<1 << 40)

    /// Runs seed after seed until `wanted` images were checked.
    private func search(_ lab: Enumerator, _ wanted: Int, perSeed: Int) throws {
        var report = Enumerator.Report()
        var seed = Self.first
        while report.distinct < wanted, report.failures.isEmpty {
            report.add(try lab.run(seed: seed, limit: min(wanted - report.distinct, perSeed)))
            seed += 1
        }
        for failure in report.failures.prefix(3) { Issue.record("\(failure)") }
        #expect(report.acknowledgements > 0 && report.moments > 0)
        print(
            "enumerator: \(report.distinct) states at \(report.moments) moments of \(report.runs) runs from seed \(Self.first), "
                + "\(report.recoveries) recoveries cut")
    }

    /// The page store with all that changes its layers: staging, settling, merging, checkpoints.
    @Test func thePageStoreKeepsWhatItAcknowledged() throws {
        var lab = LabPrograms.lab(Adapter([LabPrograms.child]), in: scratch)
        lab.recoveryEvery = 60
        try search(lab, Budget.of(quick: 200, default: 1000, full: 5000), perSeed: 250)
    }

    /// The whole store: creation, tasks and their maps, a heap, the catalog.
    @Test func theStoreKeepsWhatItAcknowledged() throws {
        var lab = LabPrograms.lab(LabPrograms.adapter("varve"), in: scratch)
        lab.recoveryEvery = 60
        try search(lab, Budget.of(quick: 60, default: 300, full: 3000), perSeed: 100)
    }

    /// The lab sees: where one file's flushes count for nothing, acknowledged commits are gone.
    @Test(arguments: ["/journal", "/pages.lmdb"])
    func flushesThatCountForNothingAreNoticed(file: String) throws {
        var lab = LabPrograms.lab(Adapter([LabPrograms.child]), in: scratch)
        lab.lying = [file]
        lab.mostFailures = 1
        lab.recoveryEvery = 0
        var failures: [Failure] = []
        for seed in UInt64(0)..<8 where failures.isEmpty { failures = try lab.run(seed: seed, limit: 300).failures }
        #expect(!failures.isEmpty, "a store whose \(file) was never flushed lost nothing")
    }

    /// Whoever made a store may be killed before its name is on the disk: what the next one commits must not go with the name.
    @Test func whoOpensANewStoreMakesItsNameDurable() throws {
        let adapter = LabPrograms.adapter("varve")
        func record(_ command: [String], _ folder: String, _ disk: SimulatedDisk) throws -> Recording {
            try Recording(command, in: folder, on: disk, recorder: LabPrograms.recorder, lying: [], trace: folder + ".trace")
        }
        let made = scratch.path + "/made", found = scratch.path + "/found"
        try LabFile.makeFolder(made)
        try LabFile.makeFolder(found)
        let work = try record(adapter.work + [made, "1"], made, SimulatedDisk())
        let unsynced = try #require(
            work.moments.first { $0.disk.current.names.entries["store"] != nil && $0.disk.durableNames.entries["store"] == nil })
        try unsynced.disk.current.write(to: found)
        let recovery = try record(adapter.recover + [found], found, unsynced.disk.afterKill)
        let told = try #require(recovery.moments.first { $0.acknowledged > 0 })
        #expect(told.disk.durableNames.entries["store"] != nil)
    }

    /// A killed writer may have left the end of the catalog's transaction in the page cache alone: nothing new is written over it there.
    @Test func whatAKilledWriterLeftOfTheCatalogsJournalIsSyncedFirst() throws {
        let adapter = LabPrograms.adapter("varve")
        let made = scratch.path + "/journalled", name = "store/catalog.sqlite-journal"
        try LabFile.makeFolder(made)
        let work = try Recording(
            adapter.work + [made, "77"], in: made, on: SimulatedDisk(), recorder: LabPrograms.recorder, lying: [], trace: made + ".trace")
        func pending(_ disk: SimulatedDisk) -> [SimulatedDisk.Pending] {
            disk.current.names.file(at: name).flatMap { disk.files[$0]?.pending } ?? []
        }
        let kills = work.moments.filter { $0.acknowledged > 0 && !pending($0.disk).isEmpty }
        try #require(!kills.isEmpty)
        for (number, kill) in kills.enumerated() where number % max(1, kills.count / 6) == 0 {
            let found = scratch.path + "/killed-\(number)"
            try LabFile.makeFolder(found)
            try kill.disk.current.write(to: found)
            let old = try #require(pending(kill.disk).map(\.order).max())
            let recovery = try Recording(
                adapter.recover + [found], in: found, on: kill.disk.afterKill, recorder: LabPrograms.recorder, lying: [], trace: found + ".trace")
            for moment in recovery.moments {
                let orders = pending(moment.disk).map(\.order)
                #expect(!orders.contains { $0 <= old } || !orders.contains { $0 > old }, "killed at \(kill.event), cut at \(moment.event)")
            }
        }
    }

    /// A runtime that is linked into a program finds its arguments by where the environment lies: the recorder leaves it there. A
    /// program that replaces itself by another is followed all the same.
    @Test func theRecorderChangesNoEnvironment() throws {
        let folder = scratch.path + "/environment"
        try LabFile.makeFolder(folder)
        let run = try Recording(
            ["/bin/sh", "-c", "echo first; exec env"], in: folder, on: SimulatedDisk(), recorder: LabPrograms.recorder, lying: [],
            trace: folder + ".trace")
        #expect(run.acknowledged.first == "first")
        let names = run.acknowledged.filter { $0.hasPrefix("VARVE_CRASHLAB_") }.map { $0.prefix { $0 != "=" } }
        #expect(names.sorted() == ["VARVE_CRASHLAB_ACKS", "VARVE_CRASHLAB_ROOT", "VARVE_CRASHLAB_TRACE"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["environment"])
    }

    /// What a run keeps shows the same again.
    @Test func aFailureIsReproducedFromItsFolder() throws {
        var lab = LabPrograms.lab(LabPrograms.adapter("lmdb-nosync"), in: scratch)
        lab.mostFailures = 1
        let failure = try #require(try lab.run(seed: 1).failures.first)
        #expect(try Failure.reproduce(failure.folder, scratch: scratch.path) == failure.finding)
        let acknowledged = failure.folder + "/acknowledged"
        try Data().write(to: URL(fileURLWithPath: acknowledged))
        #expect(try Failure.reproduce(failure.folder, scratch: scratch.path) != failure.finding)
    }
}
