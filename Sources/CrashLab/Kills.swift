internal import Glibc

/// Layer 6 of the lab: processes that work on a store, and those that recover it then, killed at random moments.
///
/// Each round is one store: its making and work are killed, then up to ``mostRecoveries`` recoveries, then it is checked. It sees
/// nothing of what a power cut takes: the kernel keeps what was written.
public enum Kills {
    static let layer = "kills"
    /// Recoveries of one store that are killed.
    fileprivate static let mostRecoveries = 8

    public static func run(_ settings: LayerSettings) throws(LabError) -> LayerReport {
        guard let serve = settings.adapter.serve else { throw LabError("this adapter has no program that starts its runs") }
        return try LayerRun(layer, settings).perform { (run, number) throws(LabError) in
            var killer = try Killer(run, number, serve)
            try killer.perform()
        }
    }
}

/// One thread's kills.
private struct Killer {
    private let run: LayerRun
    private let settings: LayerSettings
    private let runs: ChildRuns
    private let checker: CheckerProcess
    private let folder: String
    /// How long the work and a recovery take that nobody kills, in microseconds.
    private var workTime = 0
    private var recoveryTime = 0
    private var failpoints: String?

    init(_ run: LayerRun, _ number: Int, _ serve: [String]) throws(LabError) {
        self.run = run
        settings = run.settings
        let root = try LabFile.resolved(settings.scratch)
        runs = ChildRuns(serve, output: "\(root)/printed-\(number)")
        checker = CheckerProcess(settings.adapter.check)
        folder = "\(root)/killed-\(number)"
        failpoints = settings.adapter.failpoints
    }

    mutating func perform() throws(LabError) {
        try measure()
        while let round = run.next() { try kill(round) }
        LabFile.remove(folder)
    }

    /// The shortest of some runs: the first ones find nothing ready.
    private func time(_ verb: String, again: Bool) throws(LabError) -> Int {
        var shortest = Int.max
        for _ in 0..<3 {
            if again {
                LabFile.remove(folder)
                try LabFile.makeFolder(folder)
            }
            let begun = ContinuousClock.now
            let outcome = try runs.run(verb, folder, seed: settings.seed)
            guard outcome.end == .status(0) else { throw LabError("the adapter's \(verb) \(outcome.end): \(outcome.errors)") }
            shortest = min(shortest, Int((ContinuousClock.now - begun) / .microseconds(1)))
        }
        return max(1, shortest)
    }

    private mutating func measure() throws(LabError) {
        workTime = try time("work", again: true)
        recoveryTime = try time("recover", again: false)
        guard let name = failpoints else { return }
        // Only builds for debugging have them.
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        let outcome = try runs.run("work", folder, seed: settings.seed, variables: [name: "*:1"])
        if outcome.end != .signal(SIGKILL) {
            failpoints = nil
            run.note("this build has no failpoints: all kills are at random moments")
        }
    }

    /// Works on a store, kills it, recovers and kills it as often as may be, and checks it.
    private mutating func kill(_ round: Int) throws(LabError) {
        let seed = settings.seed &+ UInt64(round)
        var random = SplitMix(state: SplitMix.mix(seed))
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        var acknowledged: [String] = []
        var moments: [String] = []
        for part in 0...Int.random(in: 1...Kills.mostRecoveries, using: &random) {
            let verb = part == 0 ? "work" : "recover"
            var variables: [String: String] = [:]
            // As often early as late: what happens once, at the beginning, is most of what differs.
            let whole = part == 0 ? workTime : recoveryTime
            var delay = Bool.random(using: &random) ? Int.random(in: 1...whole, using: &random)
                : Int.random(in: 1...max(1, Int.random(in: 1...whole, using: &random)), using: &random)
            if let failpoints, Int.random(in: 0..<3, using: &random) == 0 {
                variables[failpoints] = "*:\(Int.random(in: 1...(part == 0 ? 150 : 12), using: &random))"
                delay = 0
            }
            let outcome = try runs.run(verb, folder, seed: seed, killAfter: delay, variables: variables)
            acknowledged += outcome.acknowledged
            moments.append("\(verb) \(variables.isEmpty ? "killed after \(delay) µs" : variables.values.first!) \(outcome.end)")
            switch outcome.end {
            case .signal(SIGKILL):
                run.count("kills")
                run.count(variables.isEmpty ? "kills of \(verb)" : "kills at failpoints")
                if variables.isEmpty { adapt(part, longer: whole / 16 + 1) }
            case .status(0):
                run.count("runs that ended before")
                if variables.isEmpty { adapt(part, longer: (delay - whole) / 8) }
            default:
                try fail(seed, moments, "the \(verb) \(outcome.end): \(outcome.errors)", acknowledged, try FolderImage(of: folder))
                return
            }
        }
        run.acknowledged(acknowledged.count)
        let image = try FolderImage(of: folder)
        var identity = WordHash(image.hash)
        identity.add(UInt64(acknowledged.count))
        run.saw(identity.value)
        guard let finding = try checker.check(folder, seed: seed, acknowledged: acknowledged) else { return }
        checker.end()
        try fail(seed, moments, finding, acknowledged, image)
    }

    /// What a run takes differs from run to run, and is less than what starting it costs: most are to be killed, late ones too.
    private mutating func adapt(_ part: Int, longer microseconds: Int) {
        if part == 0 { workTime = max(20, workTime + microseconds) } else { recoveryTime = max(20, recoveryTime + microseconds) }
    }

    private func fail(
        _ seed: UInt64, _ moments: [String], _ finding: String, _ acknowledged: [String], _ image: FolderImage
    ) throws(LabError) {
        try run.fail(
            seed: seed, moments.joined(separator: ", "), "what the killed processes left", finding, acknowledged: acknowledged,
            folder: "kills-\(seed)"
        ) { (folder) throws(LabError) in try image.write(to: folder) }
    }
}
