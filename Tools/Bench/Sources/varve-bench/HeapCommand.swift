import ArgumentParser
import Foundation

/// `varve-bench heap`: the persistent heap's allocator and dictionary, beside other allocators and databases.
struct HeapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heap", abstract: "Time allocations, a dictionary, and reopening it, engine by engine.")

    @Flag(help: "Print lines of JSON instead of tables.")
    var json = false

    @Flag(help: "Fewer entries and shorter rounds: about a minute.")
    var quick = false

    @Flag(help: "Time the reopening alone.")
    var reopening = false

    @Option(help: "Where the engines keep their data, in a fresh folder; by default TMPDIR or /var/tmp.")
    var dir: String?

    @Option(help: .hidden)
    var peers: String?

    func run() throws {
        let parent = dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        let volume = try Volume(of: parent)
        let workspace = try Workspace(under: parent)
        defer { workspace.close() }
        let report = HeapReport(json: json)
        report.begin(Machine(volume: volume), entries: plan.entries)
        if !reopening {
            try allocations(workspace, report)
            try dictionaries(workspace, report)
        }
        try report.reopened(HeapReopening(entries: plan.entries, runs: plan.openings).measure(in: workspace))
    }

    private var plan: HeapPlan { quick ? .quick : .full }

    private func allocations(_ workspace: Workspace, _ report: HeapReport) throws {
        let engines = try start(["glibc", "boost", "pmemobj-unsynced", "pmemobj", "varve"], "heap", workspace)
        defer { for engine in engines { engine.end() } }
        for mix in AllocationMix.allCases {
            for threads in [1, 2] {
                var rates: [OperationTimes] = engines.map { OperationTimes(engine: $0.name) }
                var counts: [Int] = []
                for engine in engines {
                    // As many as fit the time; the slowest do a few dozen.
                    let few: OperationAnswer = try engine.ask("\(mix.rawValue) \(threads) 50")
                    let isSlow = few.nanoseconds / few.operations > 1_000_000
                    let some: OperationAnswer = isSlow ? few : try engine.ask("\(mix.rawValue) \(threads) 20000")
                    let each = Double(some.nanoseconds) / Double(some.operations / threads)
                    counts.append(max(50, min(20_000_000, Int(plan.batchSeconds * 1e9 / each))))
                }
                for _ in 0..<plan.rounds {
                    for (index, engine) in engines.enumerated() {
                        let answer: OperationAnswer = try engine.ask("\(mix.rawValue) \(threads) \(counts[index])")
                        rates[index].add(answer)
                    }
                }
                report.measured("\(mix.rawValue), \(threads) thread\(threads == 1 ? "" : "s")", rates, reference: "glibc")
            }
        }
    }

    private func dictionaries(_ workspace: Workspace, _ report: HeapReport) throws {
        let engines = try start(["lmdb", "sqlite", "rocksdb", "varve"], "dictionary", workspace)
        defer { for engine in engines { engine.end() } }
        func measure(_ name: String, _ request: (_ part: Int) -> String) throws {
            var rates: [OperationTimes] = engines.map { OperationTimes(engine: $0.name) }
            for part in 0..<10 {
                for (index, engine) in engines.enumerated() { rates[index].add(try engine.ask(request(part))) }
            }
            report.measured(name, rates, reference: "lmdb")
        }
        let entries = plan.entries
        try measure("insert, \(entries) entries") { "insert \($0 * entries / 10) \(entries / 10) 1000" }
        try measure("update") { _ in "update \(entries) \(entries / 20) 1000" }
        try measure("look up") { _ in "look-up \(entries) \(entries / 5) 1000" }
    }

    /// The engines that are there; stderr names the others.
    private func start(_ names: [String], _ kind: String, _ workspace: Workspace) throws -> [EngineProcess] {
        try names.compactMap { name in
            if name == "varve" {
                return try EngineProcess(
                    EngineLaunch(name: name, executable: "/proc/self/exe", arguments: ["\(kind)-engine"]), in: workspace, arguments: [])
            }
            guard let path = peers.map({ "\($0)/\(kind)-\(name)" }), FileManager.default.isExecutableFile(atPath: path) else {
                StandardError.print("\(name): skipped: not built")
                return nil
            }
            return try EngineProcess(EngineLaunch(name: name, executable: path, arguments: []), in: workspace, arguments: [])
        }
    }
}

/// How much `varve-bench heap` does.
struct HeapPlan {
    let entries: Int
    let rounds: Int
    let batchSeconds: Double
    let openings: Int

    static let full = HeapPlan(entries: 1_000_000, rounds: 7, batchSeconds: 0.4, openings: 50)
    static let quick = HeapPlan(entries: 100_000, rounds: 3, batchSeconds: 0.1, openings: 10)
}

/// What an engine of `varve-bench heap` answers.
struct OperationAnswer: Codable {
    let operations: Int
    let nanoseconds: Int
}

/// What an engine took, round by round.
struct OperationTimes {
    let engine: String
    private(set) var nanosecondsEach: [Double] = []

    init(engine: String) { self.engine = engine }

    mutating func add(_ answer: OperationAnswer) {
        nanosecondsEach.append(Double(answer.nanoseconds) / Double(max(1, answer.operations)))
    }

    var median: Double { nanosecondsEach.sorted()[nanosecondsEach.count / 2] }
    var mean: Double { nanosecondsEach.reduce(0, +) / Double(nanosecondsEach.count) }
}
