/// Runs the engines in interleaved rounds, so that what else the machine does hits them all alike.
final class CommitBenchmark {
    private let plan: CommitPlan
    private let choice: PageChoice
    private let volume: Volume
    private let report: any CommitReport
    private var engines: [EngineProcess] = []
    private(set) var failures = 0

    init(plan: CommitPlan, choice: PageChoice, volume: Volume, report: any CommitReport) {
        self.plan = plan
        self.choice = choice
        self.volume = volume
        self.report = report
    }

    /// Starts the engines, one after the other; those that fail are reported and left out.
    func prepare(_ launches: [EngineLaunch], in workspace: Workspace, seed: UInt64) {
        for launch in launches {
            do {
                report.progress("preparing \(launch.name)")
                engines.append(
                    try EngineProcess(launch, in: workspace, arguments: ["\(plan.objectBytes)", "\(seed)"]))
            } catch {
                failed(launch.name, error)
            }
        }
    }

    /// Measures commits of `pages` pages; those of the warm-up count only where
    /// an engine is too slow for more.
    func measure(pages: Int) {
        let warmUps = warmUp(pages: pages)
        var samples = warmUps.filter { plan.rounds(each: $0.value.medianSeconds) == 0 }
        for round in 0..<plan.rounds {
            report.progress("k = \(pages): round \(round + 1) of \(plan.rounds)")
            for engine in order(ofRound: round) {
                guard let each = warmUps[engine.name]?.medianSeconds, round < plan.rounds(each: each) else { continue }
                let commits = plan.commits(each: each)
                attempt(engine, pages: pages, commits: commits, into: &samples[engine.name, default: .init()])
            }
        }
        report.measured(pages: pages, engines.compactMap { engine in samples[engine.name].map { (engine.name, $0) } })
    }

    /// The last batch of each engine before those that count; a slow engine's first commit has to do.
    private func warmUp(pages: Int) -> [String: CommitSample] {
        report.progress("k = \(pages): warming up")
        var samples: [String: CommitSample] = [:]
        for engine in engines {
            guard let first = sample(engine, pages: pages, commits: 1) else { continue }
            let commits = plan.commits(each: first.medianSeconds)
            samples[engine.name] = commits > 1 ? sample(engine, pages: pages, commits: commits) : first
        }
        return samples
    }

    func finish() {
        for engine in engines { engine.end() }
        engines = []
    }

    /// Rotated by one each round and turned around every other round, so that no engine always follows the same one.
    private func order(ofRound round: Int) -> [EngineProcess] {
        guard !engines.isEmpty else { return [] }
        let start = round % engines.count
        let rotated = Array(engines[start...] + engines[..<start])
        return round.isMultiple(of: 2) ? rotated : rotated.reversed()
    }

    private func sample(_ engine: EngineProcess, pages: Int, commits: Int) -> CommitSample? {
        var sample = CommitSample()
        return attempt(engine, pages: pages, commits: commits, into: &sample) ? sample : nil
    }

    @discardableResult
    private func attempt(
        _ engine: EngineProcess, pages: Int, commits: Int, into sample: inout CommitSample
    ) -> Bool {
        do {
            let before = volume.deviceBytesWritten()
            let batch = try engine.run(pages: pages, commits: commits, choice: choice)
            let after = volume.deviceBytesWritten()
            sample.add(batch, deviceBytes: before.flatMap { before in after.map { $0 - before } })
            return true
        } catch {
            engine.end()
            engines.removeAll { $0 === engine }
            failed(engine.name, error)
            return false
        }
    }

    private func failed(_ name: String, _ error: any Error) {
        failures += 1
        report.failed(name, "\(error)")
    }
}
