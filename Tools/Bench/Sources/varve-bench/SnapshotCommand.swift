import ArgumentParser
import Foundation
import Varve

/// `varve-bench snapshot`: what it costs to name a state of an aged object, to clone it, to go back to it and to compare it,
/// beside a commit of one page.
struct SnapshotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Time named snapshots, clones, rollbacks and differences of an aged object beside commits of one page.")

    @Flag(help: "Print lines of JSON instead of a table.")
    var json = false

    @Flag(help: "A smaller object and fewer rounds: less than a minute.")
    var quick = false

    @Option(help: "Where the store is made, in a fresh folder; by default TMPDIR or /var/tmp.")
    var dir: String?

    @Option(help: "The seed of the pages' choice and contents.")
    var seed: UInt64 = 1

    func run() throws {
        let object = quick ? AgedObject.quick : .full
        let rounds = quick ? 200 : 1000
        let parent = dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        let machine = Machine(volume: try Volume(of: parent))
        let workspace = try Workspace(under: parent)
        defer { workspace.close() }
        let report = TimesReport(json: json)
        report.begin(machine, object)
        let (store, task, address) = try object.make(
            at: workspace.path + "/store", seed: seed, progress: StandardError.progress)
        StandardError.progress("")

        // In turn, so that what else the machine does hits them alike.
        var pages = RandomPages(seed: seed + 1, count: object.pageCount)
        var commit = Times()
        var snapshot = Times()
        var both = Times()
        for round in 0..<rounds {
            pages.write(pages.nextPage(), task.pointer(address))
            commit.add(try timed { try store.commit() }.seconds)
            snapshot.add(try timed { try store.createSnapshot("s\(round)") }.seconds)
            pages.write(pages.nextPage(), task.pointer(address))
            both.add(try timed { try store.commit(snapshot: "c\(round)") }.seconds)
        }
        report.print(
            "snapshot",
            [
                ("commit of one page", commit), ("named snapshot", snapshot), ("commit of one page, named", both),
            ])

        var clone = Times(), difference = Times(), rollback = Times()
        for round in 0..<(quick ? 20 : 100) {
            let before = try store.version(of: .head)
            for _ in 0..<256 { pages.write(pages.nextPage(), task.pointer(address)) }
            let after = try store.commit()
            clone.add(try timed { try store.clone(.init(name: "object"), as: "clone \(round)") }.seconds)
            let (found, seconds) = try timed { try store.diff(.version(before), .version(after), object: "object") }
            guard found.first?.lines.isEmpty == false else { throw BenchError("a commit of 256 pages shows no difference") }
            difference.add(seconds)
            rollback.add(try timed { try store.rollback(to: .version(before), object: "object") }.seconds)
            _ = try store.deleteObject("clone \(round)")
        }
        report.print(
            "states",
            [
                ("clone", clone), ("difference of 256 pages, with lines", difference), ("rollback of 256 pages", rollback),
            ])
        try store.close()
    }
}
