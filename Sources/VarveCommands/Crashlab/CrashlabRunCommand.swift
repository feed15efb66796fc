internal import ArgumentParser
internal import CrashLab
internal import FoundationEssentials
internal import Glibc
internal import Varve

/// `varve crashlab run`
struct CrashlabRunCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Do to a working store what a computer may do to it, and look at what is left.",
        discussion: """
            \(CrashlabLayer.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

            Exits with 1 where something that was promised is gone, or where a layer's control shows that it is blind. What lacks \
            something is kept, and `varve crashlab reproduce` checks it again.

            Example:
              varve crashlab run enumerator kills --budget 60
              varve crashlab run enumerator --store-adapter 'python3 my-adapter.py'
            """)

    @Argument(help: "Which layers; where none is named, all that need no privilege.")
    var layers: [CrashlabLayer] = []
    @Option(help: "The first run's seed; drawn at random where it is not given.")
    var seed: UInt64?
    @Option(help: ArgumentHelp("How long each layer searches.", valueName: "seconds"))
    var budget: Double = 30
    @Option(help: ArgumentHelp("Stop a layer after so many states, where that is earlier.", valueName: "number"))
    var states: Int = .max
    @Option(help: ArgumentHelp("What is tested: \(CrashlabAdapters.names.joined(separator: ", ")), or a program and its arguments.", valueName: "adapter"))
    var storeAdapter = "varve"
    @Option(help: ArgumentHelp("Where the stores are made; in memory, where it is not given.", valueName: "folder"))
    var folder: String?
    @Option(help: ArgumentHelp(
            "full-disks, shutdown: a folder on a file system of the lab's own, which is filled or shut down; block-log: a file that holds an empty one.",
            valueName: "path"))
    var disk: String?
    @Option(help: ArgumentHelp("enumerator: pretend that flushes of files whose path ends so count for nothing.", valueName: "name"))
    var ignoreSyncs: [String] = []
    @Option(help: ArgumentHelp("Where stores are kept that lack something.", valueName: "folder"))
    var failures = "crashlab-failures"
    @Option(help: ArgumentHelp("Threads of the lab, each with a checker.", valueName: "number"))
    var checkers: Int?
    @Option(help: ArgumentHelp("enumerator: of so many images, trace the recovery of one and cut it too.", valueName: "number"))
    var recoveryEvery = 150
    @Option(help: ArgumentHelp("Write a page for people to look at, too.", valueName: "file.html"))
    var report: String?
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        guard budget > 0, states > 0, checkers ?? 1 > 0, recoveryEvery > 0 else {
            throw CommandFailure.usage(message: "a budget, and the numbers of states, checkers and images are above 0", advice: "Give larger numbers")
        }
        let scratch = try CrashlabScratch(in: folder)
        let kept = CrashlabScratch.absolute(failures)
        var settings = LayerSettings(
            adapter: try CrashlabAdapters.find(storeAdapter, console), recorder: try CrashlabAdapters.recorder(console), scratch: scratch.path,
            failures: kept, seed: seed ?? UInt64.random(in: 0..<1 << 48))
        settings.seconds = budget
        settings.states = states
        settings.disk = disk.map(CrashlabScratch.absolute)
        settings.workers = checkers ?? max(2, ProcessInfo.processInfo.activeProcessorCount)
        try FileManager.default.createDirectory(atPath: kept, withIntermediateDirectories: true)
        // Only where it is empty.
        defer { rmdir(kept) }
        let chosen = layers.isEmpty ? CrashlabLayer.allCases.filter { !$0.needsPrivilege } : layers
        let lab = CrashlabLab(
            settings: settings, adapterName: storeAdapter, console: console, ignoredSyncs: ignoreSyncs, recoveryEvery: recoveryEvery)
        let result = CrashlabReport(adapter: storeAdapter, seed: settings.seed, layers: try chosen.map { try lab.run($0) })
        try output.show(console, json: result.json, text: result.text)
        if let report { try TextFile.write(result.page, to: report) }
        return result.layers.allSatisfy(\.isClean) ? .success : .differences
    }
}
