internal import ArgumentParser
internal import CrashLab
internal import FoundationEssentials
internal import Glibc
internal import Varve

/// `varve crashlab run`
struct CrashlabRunCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Cut the power of a working store at every moment, and look at what is left.",
        discussion: """
            The layer is 'enumerator': a run is recorded call by call, every image that a power cut may leave of it is made, \
            and each is checked in another process. Exits with 1 where an image lacks what was promised; each such image is \
            kept, and `varve crashlab reproduce` checks it again.

            Example:
              varve crashlab run enumerator --budget 60
              varve crashlab run enumerator --store-adapter 'python3 my-adapter.py'
            """)

    enum Layer: String, ExpressibleByArgument, CaseIterable { case enumerator }

    @Argument(help: "Which layers; all, where none is named.")
    var layers: [Layer] = []
    @Option(help: "The first run's seed; drawn at random where it is not given.")
    var seed: UInt64?
    @Option(help: ArgumentHelp("How long to search.", valueName: "seconds"))
    var budget: Double = 30
    @Option(help: ArgumentHelp("Stop after so many states, where that is earlier.", valueName: "number"))
    var states: Int = .max
    @Option(help: ArgumentHelp("What is tested: \(CrashlabAdapters.names.joined(separator: ", ")), or a program and its arguments.", valueName: "adapter"))
    var storeAdapter = "varve"
    @Option(help: ArgumentHelp("Pretend that flushes of files whose path ends so count for nothing.", valueName: "name"))
    var ignoreSyncs: [String] = []
    @Option(help: ArgumentHelp("Where images are kept that lack something.", valueName: "folder"))
    var failures = "crashlab-failures"
    @Option(help: ArgumentHelp("Processes that check.", valueName: "number"))
    var checkers: Int?
    @Option(help: ArgumentHelp("Of so many images, trace the recovery of one and cut it too.", valueName: "number"))
    var recoveryEvery = 150
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        guard budget > 0, states > 0, checkers ?? 1 > 0, recoveryEvery > 0 else {
            throw CommandFailure.usage(message: "a budget, and the numbers of states, checkers and images are above 0", advice: "Give larger numbers")
        }
        let first = seed ?? UInt64.random(in: 0..<1 << 48)
        let scratch = try CrashlabScratch()
        let kept = CrashlabScratch.absolute(failures)
        var lab = Enumerator(
            adapter: try CrashlabAdapters.find(storeAdapter, console), recorder: try CrashlabAdapters.recorder(console), scratch: scratch.path,
            failures: kept)
        lab.lying = ignoreSyncs
        lab.recoveryEvery = recoveryEvery
        lab.checkers = checkers ?? max(2, ProcessInfo.processInfo.activeProcessorCount)
        try FileManager.default.createDirectory(atPath: kept, withIntermediateDirectories: true)
        // Only where it is empty.
        defer { rmdir(kept) }
        var control: Enumerator.Report?
        if storeAdapter == "varve", ignoreSyncs.isEmpty { control = try blinded(lab, first) }
        let (report, seconds) = try Times.measure { try search(lab, first) }
        let isBlind = control?.failures.isEmpty == true
        try output.show(console, json: json(report, control, first, seconds), text: text(report, control, first, seconds))
        return report.failures.isEmpty && !isBlind ? .success : .differences
    }

    private func search(_ lab: Enumerator, _ first: UInt64) throws -> Enumerator.Report {
        var report = Enumerator.Report()
        var seed = first
        let clock = ContinuousClock()
        let end = clock.now + .seconds(budget)
        while report.distinct < states, report.failures.count < lab.mostFailures, clock.now < end {
            // So many that a budget sees several seeds.
            report.add(try lab.run(seed: seed, limit: min(states - report.distinct, 1500)))
            seed += 1
        }
        return report
    }

    /// The control: where the journal's flushes count for nothing, the lab must notice.
    private func blinded(_ lab: Enumerator, _ first: UInt64) throws -> Enumerator.Report {
        var lab = lab
        lab.lying = ["/journal"]
        lab.recoveryEvery = 0
        lab.mostFailures = 1
        lab.failures = lab.scratch
        var report = Enumerator.Report()
        for seed in first..<first + 5 where report.failures.isEmpty { report.add(try lab.run(seed: seed, limit: 2000)) }
        return report
    }

    private func text(_ report: Enumerator.Report, _ control: Enumerator.Report?, _ first: UInt64, _ seconds: Double) -> String {
        var lines = report.failures.map { "VIOLATION \($0)" }
        lines.append(
            """
            enumerator on \(storeAdapter): \(report.distinct) states after power cuts at \(report.moments) moments of \
            \(report.runs) runs with \(report.acknowledgements) acknowledgements, \(report.recoveries) recoveries cut again, \
            \(report.failures.count) violations; seeds from \(first), \(Times.duration(seconds)), \
            \(Int(Double(report.distinct) / seconds)) states a second.
            """)
        if let control {
            lines.append(
                control.failures.isEmpty
                    ? "CONTROL FAILED: with the journal's flushes ignored, \(control.distinct) states showed nothing wrong."
                    : "Control: with the journal's flushes ignored, a violation among \(control.distinct) states.")
        }
        if let failure = report.failures.first { lines.append("`varve crashlab reproduce \(Printable.text(failure.folder))` shows the first again.") }
        return lines.joined(separator: "\n")
    }

    private func json(_ report: Enumerator.Report, _ control: Enumerator.Report?, _ first: UInt64, _ seconds: Double) -> JSON {
        let failures = report.failures.map { failure in
            JSON.object([
                ("seed", .unsigned(failure.seed)), ("moment", .string(failure.moment)), ("image", .string(failure.image)),
                ("finding", .string(failure.finding)), ("folder", .string(failure.folder)),
            ])
        }
        var members: [(String, JSON)] = [
            ("layer", .string("enumerator")), ("adapter", .string(storeAdapter)), ("seed", .unsigned(first)),
            ("runs", .integer(report.runs)), ("moments", .integer(report.moments)), ("states", .integer(report.distinct)),
            ("acknowledgements", .integer(report.acknowledgements)), ("recoveries", .integer(report.recoveries)),
            ("seconds", .seconds(seconds)), ("violations", .array(failures)),
        ]
        if let control {
            members.append(("control", .object([("states", .integer(control.distinct)), ("noticed", .bool(!control.failures.isEmpty))])))
        }
        return .object(members)
    }
}
