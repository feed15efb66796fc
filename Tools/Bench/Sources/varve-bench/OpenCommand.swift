import ArgumentParser
import Foundation
import Varve

/// `varve-bench open`: how long it takes until the first byte of an aged object, in a fresh process.
struct OpenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "open", abstract: "Time opening, attaching and reading the first byte of an aged object.")

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
        let rounds = 25
        let parent = dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        let machine = Machine(volume: try Volume(of: parent))
        let workspace = try Workspace(under: parent)
        defer { workspace.close() }
        let report = TimesReport(json: json)
        report.begin(machine, object)
        let path = workspace.path + "/store"
        do {
            let (store, _, _) = try object.make(at: path, seed: seed, progress: StandardError.progress)
            try store.close()
        }
        let child = OpenChild(workspace: workspace, store: path)

        _ = try child.open()
        var clean = OpenTimes()
        for round in 0..<rounds {
            StandardError.progress("after a clean close: \(round + 1) of \(rounds)")
            clean.add(try child.open())
        }
        StandardError.progress("")
        report.print("open after a clean close", clean.rows)

        var killed = OpenTimes()
        for round in 0..<rounds {
            StandardError.progress("after a kill: \(round + 1) of \(rounds)")
            try child.killWhileCommitting(seed: seed + UInt64(round))
            killed.add(try child.open())
        }
        StandardError.progress("")
        report.print("open after a kill with a full ring", killed.rows)
    }
}

/// What one opening took, in seconds: one line that the child writes.
struct OpenSample: Codable {
    /// `Store.open`: page store, recovery, catalog, control socket.
    var open = 0.0
    /// Of it, the page store alone with what recovery did.
    var pageStore = 0.0
    /// Of it, the catalog.
    var catalog = 0.0
    /// `Store.task`: saved map, window, page table, mapping.
    var attach = 0.0
    /// Of it, the object's page table.
    var table = 0.0
    var firstByte = 0.0
    /// Open, attach and first byte together.
    var whole = 0.0
    /// Records that recovery found in the ring.
    var records = 0
    /// Records that recovery wrote again.
    var rewritten = 0
}

/// The samples of one kind, part by part.
struct OpenTimes {
    private var samples: [OpenSample] = []

    mutating func add(_ sample: OpenSample) { samples.append(sample) }

    var rows: [(name: String, times: Times)] {
        func times(_ part: (OpenSample) -> Double) -> Times {
            var times = Times()
            for sample in samples { times.add(part(sample)) }
            return times
        }
        let records = samples.map(\.records).max() ?? 0
        return [
            ("whole", times(\.whole)), ("  open the store", times(\.open)),
            ("    page store (\(records) records)", times(\.pageStore)), ("    catalog", times(\.catalog)),
            ("  attach the task", times(\.attach)), ("    page table", times(\.table)),
            ("  first byte", times(\.firstByte)),
        ]
    }
}
