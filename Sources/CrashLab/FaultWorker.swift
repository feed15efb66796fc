internal import Glibc

/// What calls there are to fail, and the stores that are recovered then.
struct FaultSurvey: Sendable {
    /// A store that a killed process left.
    struct Base: Sendable {
        var image: FolderImage
        var acknowledged: [String]
    }

    private static let baseCount = 3

    private(set) var bases: [Base] = []
    /// By the verb: the places that were seen, and how many calls there were.
    private(set) var sites: [String: CallSites] = [:]
    private(set) var calls: [String: [Fault.Call: Int]] = [:]

    init(_ serve: [String], _ settings: LayerSettings) throws(LabError) {
        var runs = try FaultyRuns(serve, settings, 0)
        var random = SplitMix(state: settings.seed)
        try add("work", nil, &runs)
        // Once more, now that the program is ready.
        try runs.makeFolder(nil)
        let begun = ContinuousClock.now
        _ = try runs.start("work", nil)
        let microseconds = max(3, Int((ContinuousClock.now - begun) / .microseconds(1)))
        for _ in 0..<Self.baseCount {
            try runs.makeFolder(nil)
            let killed = try runs.start("work", nil, killAfter: Int.random(in: microseconds / 3...microseconds, using: &random))
            bases.append(Base(image: try FolderImage(of: runs.folder), acknowledged: killed.acknowledged))
        }
        try add("recover", bases[0], &runs)
        LabFile.remove(runs.folder)
    }

    private mutating func add(_ verb: String, _ base: Base?, _ runs: inout FaultyRuns) throws(LabError) {
        try runs.makeFolder(base?.image)
        let outcome = try runs.start(verb, nil)
        guard outcome.end == .status(0) else { throw LabError("the adapter's \(verb) \(outcome.end): \(outcome.errors)") }
        var found = CallSites()
        calls[verb] = try found.add(try runs.logged()).calls
        sites[verb] = found
    }
}

/// Runs of one thread's in a folder of its own, with a call that fails or none.
struct FaultyRuns {
    let folder: String
    let root: String
    private let runs: ChildRuns
    private let log: String
    private let seed: UInt64

    init(_ serve: [String], _ settings: LayerSettings, _ number: Int) throws(LabError) {
        root = try LabFile.resolved(settings.scratch)
        // The server has the library too, and its children arm it.
        runs = ChildRuns(serve, environment: ["LD_PRELOAD": settings.recorder], output: "\(root)/printed-\(number)")
        folder = "\(root)/faulty-\(number)"
        log = "\(root)/sites-\(number)"
        seed = settings.seed
    }

    /// Makes the folder anew, with what is to be in it.
    func makeFolder(_ image: FolderImage?) throws(LabError) {
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        try image?.write(to: folder)
    }

    func start(_ verb: String, _ fault: Fault?, killAfter microseconds: Int = 0) throws(LabError) -> ChildRuns.Outcome {
        unlink(log)
        var variables = ["VARVE_CRASHLAB_ROOT": folder, "VARVE_CRASHLAB_SITES": log]
        if let fault { variables["VARVE_CRASHLAB_FAULT"] = fault.variable }
        return try runs.run(verb, folder, seed: seed, killAfter: microseconds, variables: variables)
    }

    /// What the last run wrote of its calls.
    func logged() throws(LabError) -> [UInt8] { access(log, F_OK) == 0 ? try LabFile.read(log) : [] }
}

/// One thread's runs with calls that fail.
struct FaultWorker {
    private let run: LayerRun
    private let settings: LayerSettings
    private let sweep: FaultSweep
    private let number: Int
    private let runs: FaultyRuns
    private let checker: CheckerProcess
    private var root: String { runs.root }
    private var folder: String { runs.folder }

    init(_ run: LayerRun, _ sweep: FaultSweep, _ number: Int, _ serve: [String]) throws(LabError) {
        self.run = run
        self.sweep = sweep
        self.number = number
        settings = run.settings
        runs = try FaultyRuns(serve, settings, number)
        checker = CheckerProcess(settings.adapter.check)
    }

    func perform() throws(LabError) {
        while run.next() != nil, let next = sweep.next() { try perform(next) }
        LabFile.remove(folder)
    }

    // MARK: Failing

    private func perform(_ item: FaultCase) throws(LabError) {
        let base = item.verb == "recover" ? sweep.survey.bases[item.fault.number % sweep.survey.bases.count] : nil
        try runs.makeFolder(base?.image)
        var acknowledged = base?.acknowledged ?? []
        let outcome = try runs.start(item.verb, item.fault)
        acknowledged += outcome.acknowledged
        run.acknowledged(acknowledged.count)
        guard try sweep.log(try runs.logged()).hasFailed else {
            sweep.retry(item)
            return run.count("faults that did not come about")
        }
        run.count("faults")
        let image = try FolderImage(of: folder)
        var identity = WordHash(image.hash)
        identity.add(UInt64(acknowledged.count))
        run.saw(identity.value)
        let problem: String?
        switch outcome.end {
        case .status(0): problem = nil
        case .status:
            run.count("errors that were told")
            problem = outcome.errors.isEmpty ? "the \(item.verb) \(outcome.end) and says nothing" : nil
        default: problem = "the \(item.verb) \(outcome.end)"
        }
        var finding = problem
        if finding == nil { finding = try checker.check(folder, seed: settings.seed, acknowledged: acknowledged) }
        if let finding {
            if problem == nil { checker.end() }
            let faulty = FaultyRun(
                recorder: settings.recorder, fault: item.fault.variable,
                command: item.verb == "work" ? settings.adapter.work : settings.adapter.recover, before: base?.image,
                acknowledged: base?.acknowledged ?? [])
            try run.fail(
                seed: settings.seed, "\(item.verb): \(item.fault)", "what it left (\(outcome.errors.prefix(300)))", finding, acknowledged: acknowledged,
                folder: "faults-\(settings.seed)-\(item.verb)-\(item.fault.variable.replacing(":", with: "-"))", faulty: faulty
            ) { (folder) throws(LabError) in try image.write(to: folder) }
        }
        if item.fault.call == .sync, item.verb == "work", item.fault.site != 0 || item.fault.number % 4 == 0 { try cut(item.fault) }
    }

    /// Cuts the power after a sync that failed, and after the recovery from that.
    private func cut(_ fault: Fault) throws(LabError) {
        try runs.makeFolder(nil)
        var recording = try Recording(
            settings.adapter.work + [folder, "\(settings.seed)"], in: folder, on: SimulatedDisk(), recorder: settings.recorder, lying: [],
            trace: "\(root)/trace-\(number)",
            variables: ["VARVE_CRASHLAB_SITES": "/dev/null", "VARVE_CRASHLAB_FAULT": fault.variable], mayFail: true)
        guard recording.keepAfterFailedSync() else { return }
        var lab = Enumerator(adapter: settings.adapter, recorder: settings.recorder, scratch: settings.scratch, failures: settings.failures)
        lab.checkers = 1
        lab.recoveryEvery = 6
        let place = "\(root)/cut-\(number)"
        LabFile.remove(place)
        try LabFile.makeFolder(place)
        defer { LabFile.remove(place) }
        let report = try EnumeratorRun(lab, recording, seed: settings.seed, limit: 12, root: place).perform()
        run.count("power cuts after a failed sync", report.distinct)
        run.count("recoveries cut after it", report.recoveries)
        for var failure in report.failures {
            failure.moment = "\(fault), \(failure.moment)"
            run.found(failure)
        }
    }
}
