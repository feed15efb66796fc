import ArgumentParser
import Foundation

/// `varve-bench commit`: what it costs to make k random pages of an object durable.
struct CommitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "commit", abstract: "Time commits of k random 4 KiB pages, engine by engine.")

    @Flag(help: "Print lines of JSON instead of tables.")
    var json = false

    @Flag(help: "A smaller object and fewer rounds: less than a minute.")
    var quick = false

    @Option(help: "Where the engines keep their data, in a fresh folder; by default TMPDIR or /var/tmp.")
    var dir: String?

    @Option(help: "The engines to run, separated by commas: \(EngineCatalog.names.joined(separator: ",")).")
    var engines: String?

    @Option(help: "The numbers of pages a commit changes, separated by commas.")
    var onlyK: String?

    @Option(help: "Which pages a commit stores to: \(PageChoice.allCases.map(\.rawValue).joined(separator: ", ")).")
    var choice = PageChoice.uniform

    @Option(help: "The bytes of each page that Varve's engines change, a divisor of 4096; the others write whole pages.")
    var bytes = 4096

    @Option(help: "The seed of the pages' choice and contents.")
    var seed: UInt64 = 1

    @Option(help: .hidden)
    var peers: String?

    func validate() throws {
        guard bytes > 0, 4096 % bytes == 0 else { throw ValidationError("\(bytes) does not divide 4096") }
    }

    func run() throws {
        let plan = quick ? CommitPlan.quick : .full
        let pageCounts = try chosenPageCounts(atMost: plan.objectBytes / 4096)
        let launches = try chosenEngines()
        guard !launches.isEmpty else { throw BenchError("there is no engine to run") }
        let parent = dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        let volume = try Volume(of: parent)
        try checkSpace(of: volume, for: launches.count, plan)

        let workspace = try Workspace(under: parent)
        defer { workspace.close() }
        let report: any CommitReport = json ? JSONReport() : TableReport()
        let benchmark = CommitBenchmark(plan: plan, choice: choice, volume: volume, report: report)
        let machine = Machine(volume: volume)
        warn(ifBusy: machine)
        report.begin(machine: machine, objectBytes: plan.objectBytes, choice: choice, bytesOfPage: bytes)
        benchmark.prepare(launches, in: workspace, seed: seed)
        sync()
        for pages in pageCounts { benchmark.measure(pages: pages) }
        benchmark.finish()
        if benchmark.failures > 0 { throw ExitCode.failure }
    }

    private func chosenPageCounts(atMost limit: Int) throws -> [Int] {
        guard let onlyK else { return CommitPlan.pageCounts }
        return try onlyK.split(separator: ",").map { text in
            guard let count = Int(text), (1...limit).contains(count) else {
                throw ValidationError("\(text) is not a number of pages from 1 to \(limit)")
            }
            return count
        }
    }

    /// The engines asked for, or all, without those that are not there: stderr names them.
    private func chosenEngines() throws -> [EngineLaunch] {
        let asked = engines.map { $0.split(separator: ",").map(String.init) } ?? EngineCatalog.names
        for name in asked where !EngineCatalog.names.contains(name) {
            throw ValidationError(
                "no engine is called \(name); there are \(EngineCatalog.names.joined(separator: ", "))")
        }
        return EngineCatalog.names.filter(asked.contains).compactMap { name in
            let launch = EngineCatalog.launch(name, peers: peers, bytes: bytes)
            if launch == nil { StandardError.print("\(name): skipped: not built") }
            return launch
        }
    }

    private func warn(ifBusy machine: Machine) {
        let tolerated = 0.2
        guard let busy = machine.busyProcessors, busy > tolerated else { return }
        StandardError.print(
            "others keep \(String(format: "%.1f", busy)) of \(machine.processors) processors busy: a commit may wait"
                + " for its processor longer than for its disk")
    }

    private func checkSpace(of volume: Volume, for engineCount: Int, _ plan: CommitPlan) throws {
        let objectsPerEngine = 3
        let needed = UInt64(engineCount * objectsPerEngine * plan.objectBytes)
        guard volume.freeBytes >= needed else {
            throw BenchError(
                """
                the engines' data may take \(needed >> 20) MiB and \(volume.source) has \(volume.freeBytes >> 20) free; \
                choose another folder with --dir, fewer --engines, or --quick
                """)
        }
        if volume.fileSystem == "tmpfs" {
            StandardError.print("tmpfs keeps nothing, so these numbers mean nothing: choose a --dir on a disk")
        }
    }
}
