@testable import CrashLab
import Foundation
import TestSupport
import Testing

/// What must be on the disk before what: rules of a store's trace, whatever an image would show of it.
@Suite(.enabled(if: LabPrograms.areBuilt, "needs the programs, built beside the tests"))
struct WriteOrderTests {
    let scratch = TemporaryFolder("crashlab-order", inMemory: true)
    private static let seeds = UInt64(1)...UInt64(Budget.of(quick: 3, default: 4, full: 8))
    private static let pageStore = Adapter([LabPrograms.child])
    private static let store = LabPrograms.adapter("varve")
    private static let journal = "store/journal", pages = "store/pages.lmdb", catalog = "store/catalog.sqlite"

    private func work(_ adapter: Adapter, seed: UInt64) throws -> Recording {
        let folder = "\(scratch.path)/work\(seed)"
        try LabFile.makeFolder(folder)
        return try Recording(
            adapter.work + [folder, "\(seed)"], in: folder, on: SimulatedDisk(), recorder: LabPrograms.recorder, lying: [],
            trace: folder + ".trace")
    }

    /// Records that a file has writes that may still be lost; true where it has none.
    private func expectNone(_ pending: [SimulatedDisk.Pending], _ place: String) -> Bool {
        if !pending.isEmpty { Issue.record("\(pending.count) writes are pending: \(place)") }
        return pending.isEmpty
    }

    /// What was written to a file and may still be lost.
    private func pending(_ path: String, _ disk: SimulatedDisk) -> [SimulatedDisk.Pending] {
        disk.current.names.file(at: path).flatMap { disk.files[$0]?.pending } ?? []
    }

    /// The moments at which a line was printed, and the line.
    private func acknowledgements(_ run: Recording) -> [(line: String, disk: SimulatedDisk)] {
        var told = 0
        return run.moments.compactMap { moment in
            guard moment.acknowledged > told else { return nil }
            told = moment.acknowledged
            return (run.acknowledged[told - 1], moment.disk)
        }
    }

    /// `LAST DURABLE`: where the two are one, nothing of the journal is pending.
    @Test(arguments: [pageStore, store]) func theJournalIsFlushedBeforeACommitIsAnswered(adapter: Adapter) throws {
        var synced = 0
        for seed in Self.seeds {
            for (line, disk) in acknowledgements(try work(adapter, seed: seed)) {
                let versions = line.split(separator: " ")
                guard versions.count == 2, versions[0] == versions[1] else { continue }
                synced += 1
                guard expectNone(pending(Self.journal, disk), "the journal at '\(line)' of seed \(seed)") else { return }
            }
        }
        #expect(synced > 10)
    }

    /// LMDB's meta pages, the file's first two, are written last of a transaction, and durably.
    @Test func metaPagesComeLast() throws {
        var seen = 0
        for seed in Self.seeds {
            let run = try work(Self.pageStore, seed: seed)
            for moment in run.moments where moment.acknowledged > 0 {
                let blocks = Set(pending(Self.pages, moment.disk).compactMap(\.block))
                guard blocks.contains(where: { $0 < 2 }) else { continue }
                seen += 1
                let others = blocks.count { $0 >= 2 }
                #expect(others == 0, "seed \(seed), event \(moment.event): data is pending beside a meta page")
                if others > 0 { return }
            }
            for (line, disk) in acknowledgements(run) {
                let meta = pending(Self.pages, disk).filter { ($0.block ?? 2) < 2 }
                guard expectNone(meta, "meta pages at '\(line)' of seed \(seed)") else { return }
            }
        }
        #expect(seen > 0)
    }

    /// A killed writer left something in the page cache: it is on the disk before the version that builds on it is shown.
    @Test func whatARecoveryShowsIsOnTheDisk() throws {
        var recovered = 0
        for seed in Self.seeds {
            let whole = try work(Self.pageStore, seed: seed)
            // Closing, after the last line, moves no version: an opening that finds the store closed needs nothing of it.
            let run = whole.moments.filter { $0.acknowledged > 0 && $0.acknowledged < whole.acknowledged.count }
            let young = run.filter { !pending(Self.journal, $0.disk).isEmpty }
            let meta = run.filter { pending(Self.pages, $0.disk).contains { ($0.block ?? 2) < 2 } }
            for (number, moment) in (young.suffix(4) + meta.suffix(4)).enumerated() {
                let old = Set((pending(Self.journal, moment.disk) + pending(Self.pages, moment.disk)).map(\.order))
                let folder = "\(scratch.path)/recovery\(seed)-\(number)"
                try LabFile.makeFolder(folder)
                try moment.disk.current.write(to: folder)
                let recovery = try Recording(
                    Self.pageStore.recover + [folder], in: folder, on: moment.disk.afterKill, recorder: LabPrograms.recorder,
                    lying: [], trace: folder + ".trace")
                let told = try #require(acknowledgements(recovery).first)
                recovered += 1
                for path in [Self.journal, Self.pages] {
                    let left = pending(path, told.disk).filter { old.contains($0.order) }
                    guard expectNone(left, "\(path) at '\(told.line)' after event \(moment.event) of seed \(seed)") else { return }
                }
            }
        }
        #expect(recovered > 4)
    }

    /// Stores, copies of them and exported files get their names once they are whole and durable; what goes on in them waits for the
    /// names to be durable.
    @Test func namesAreGivenToWhatIsWhole() throws {
        var named = 0
        for seed in Self.seeds {
            for moment in try work(Self.store, seed: seed).moments {
                let names = moment.disk.current.names.entries
                for name in names.keys where !name.contains("/") && !name.hasPrefix(".") && moment.disk.durableNames.entries[name] == nil {
                    named += 1
                    // What LMDB shares between processes is made anew by whoever opens first.
                    for path in names.keys where (path == name || path.hasPrefix(name + "/")) && !path.hasSuffix("-lock") {
                        guard expectNone(pending(path, moment.disk), "\(path) at event \(moment.event) of seed \(seed)") else { return }
                    }
                }
            }
        }
        #expect(named > 0)
    }

    /// SQLite's rollback journal is on the disk before the pages that it can bring back are replaced.
    @Test func theCatalogsJournalComesFirst() throws {
        var seen = 0
        for seed in Self.seeds {
            for moment in try work(Self.store, seed: seed).moments where moment.acknowledged > 0 {
                guard !pending(Self.catalog, moment.disk).isEmpty else { continue }
                seen += 1
                let early = pending(Self.catalog + "-journal", moment.disk)
                guard expectNone(early, "the catalog's journal at event \(moment.event) of seed \(seed)") else { return }
            }
        }
        #expect(seen > 0)
    }
}
