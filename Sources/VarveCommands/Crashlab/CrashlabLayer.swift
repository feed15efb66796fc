internal import ArgumentParser
internal import CrashLab
internal import Varve

/// The layers of the lab, by their names on the command line.
enum CrashlabLayer: String, ExpressibleByArgument, CaseIterable {
    case enumerator, kills, faults
    case blockLog = "block-log"
    case badFiles = "bad-files"
    case bits
    case fullDisks = "full-disks"
    case shutdown

    var summary: String {
        switch self {
        case .enumerator: "every image that a power cut may leave of a recorded run"
        case .blockLog: "every image that a power cut may leave of a file system (--disk, in a file) on a block device"
        case .kills: "processes killed at random moments, and those that recover then"
        case .badFiles: "bits flipped, pages zeroed, files cut short, removed and taken from elsewhere"
        case .bits: "the bits of a small store flipped, one after the other, each once"
        case .fullDisks: "a file system (--disk) that is full, in work and in recovery"
        case .shutdown: "a file system (--disk, on a loop device) that is shut down in the middle of the work"
        case .faults: "system calls and allocations that fail, in work and in recovery"
        }
    }

    /// Whether it is run only where it is named.
    var needsPrivilege: Bool { [.blockLog, .fullDisks, .shutdown].contains(self) }
}

/// Runs layers, each with its control.
struct CrashlabLab {
    let settings: LayerSettings
    let adapterName: String
    let console: Console
    let ignoredSyncs: [String]
    let recoveryEvery: Int

    func run(_ layer: CrashlabLayer) throws -> LayerReport {
        switch layer {
        case .enumerator: try enumerator()
        case .blockLog: try controlled(BlockLog.run, by: ("lmdb-nosync", "LMDB without its flushes"))
        case .kills: try controlled(Kills.run)
        case .faults: try controlled(Faults.run)
        case .badFiles: try controlled(BadFiles.run)
        case .bits: try controlled(EveryBit.run)
        case .fullDisks: try controlled(FullDisks.run, by: ("plain-file-large", Self.careless.what))
        case .shutdown: try controlled(Shutdowns.run)
        }
    }

    /// What a store is that all layers of processes and files find something in, and what is wrong with it.
    private static let careless = (name: "plain-file", what: "a file that is written in its place")

    /// Runs a layer, and before that, on a store of which it is known that something is wrong, until it finds that.
    private func controlled(
        _ layer: (LayerSettings) throws(LabError) -> LayerReport, by wrong: (name: String, what: String) = careless
    ) throws -> LayerReport {
        guard adapterName != wrong.name else { return try layer(settings) }
        var control = settings
        control.adapter = try CrashlabAdapters.find(wrong.name, console)
        control.mostFailures = 1
        control.seconds = 10
        control.states = .max
        control.failures = settings.scratch
        let noticed = try layer(control)
        var report = try layer(settings)
        guard report.skipped == nil else { return report }
        report.control = (wrong.what, noticed.states, !noticed.failures.isEmpty)
        return report
    }

    private func enumerator() throws -> LayerReport {
        var lab = Enumerator(adapter: settings.adapter, recorder: settings.recorder, scratch: settings.scratch, failures: settings.failures)
        lab.lying = ignoredSyncs
        lab.recoveryEvery = recoveryEvery
        lab.checkers = settings.workers
        let control = ignoredSyncs.isEmpty && adapterName != Self.careless.name ? try enumeratorControl(lab) : nil
        let (found, seconds) = try Times.measure { try search(lab) }
        var report = found.asLayer
        report.seconds = seconds
        if let (what, found) = control { report.control = (what, found.distinct, !found.failures.isEmpty) }
        return report
    }

    private func search(_ lab: Enumerator) throws -> Enumerator.Report {
        var report = Enumerator.Report()
        var seed = settings.seed
        let end = ContinuousClock.now + .seconds(settings.seconds)
        while report.distinct < settings.states, report.failures.count < lab.mostFailures, ContinuousClock.now < end {
            // So many that a budget sees several seeds.
            report.add(try lab.run(seed: seed, limit: min(settings.states - report.distinct, 1500)))
            seed &+= 1
        }
        return report
    }

    /// Where the journal's flushes count for nothing, or of another store: where a file is written in its place, the lab must notice.
    private func enumeratorControl(_ lab: Enumerator) throws -> (what: String, Enumerator.Report) {
        var lab = lab
        let isOurs = adapterName == "varve"
        if isOurs { lab.lying = ["/journal"] } else { lab.adapter = try CrashlabAdapters.find(Self.careless.name, console) }
        lab.recoveryEvery = 0
        lab.mostFailures = 1
        lab.failures = lab.scratch
        var report = Enumerator.Report()
        for offset in UInt64(0)..<5 where report.failures.isEmpty { report.add(try lab.run(seed: settings.seed &+ offset, limit: 2000)) }
        return (isOurs ? "the journal's flushes ignored" : Self.careless.what, report)
    }
}
