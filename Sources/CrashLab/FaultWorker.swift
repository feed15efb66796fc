internal import Glibc

/// One thread's runs with calls that fail.
struct FaultWorker {
    /// A store that a killed process left.
    private struct Base {
        var image: FolderImage
        var acknowledged: [String]
    }

    private static let bases = 3

    private let run: LayerRun
    private let settings: LayerSettings
    private let sweep: FaultSweep
    private let number: Int
    private let runs: ChildRuns
    private let checker: CheckerProcess
    private let root: String
    private let folder: String
    private let log: String
    private var stores: [Base] = []

    init(_ run: LayerRun, _ sweep: FaultSweep, _ number: Int, _ serve: [String]) throws(LabError) {
        self.run = run
        self.sweep = sweep
        self.number = number
        settings = run.settings
        root = try LabFile.resolved(settings.scratch)
        // The server has the library too, and its children arm it; a program that it starts takes it from the request.
        runs = ChildRuns(serve, environment: ["LD_PRELOAD": settings.recorder], output: "\(root)/printed-\(number)")
        checker = CheckerProcess(settings.adapter.check)
        folder = "\(root)/faulty-\(number)"
        log = "\(root)/sites-\(number)"
    }

    mutating func perform() throws(LabError) {
        try begin()
        while run.next() != nil, let next = sweep.next() { try perform(next) }
        LabFile.remove(folder)
    }

    // MARK: What is there to fail

    /// Surveys what calls are made, and makes the stores that are recovered.
    private mutating func begin() throws(LabError) {
        var random = SplitMix(state: settings.seed &+ UInt64(number))
        let begun = ContinuousClock.now
        let work = try survey("work", Base?.none)
        let microseconds = Int((ContinuousClock.now - begun) / .microseconds(1))
        for _ in 0..<Self.bases {
            try makeFolder()
            let killed = try runs.run("work", folder, seed: settings.seed, killAfter: Int.random(in: microseconds / 3...microseconds, using: &random))
            stores.append(Base(image: try FolderImage(of: folder), acknowledged: killed.acknowledged))
        }
        let recovery = try survey("recover", stores[0])
        guard number == 0 else { return }
        sweep.begin(work.sites, ["work": work.calls, "recover": recovery.calls], &random)
        sweep.add(work.sites, verb: "work")
        sweep.add(recovery.sites, verb: "recover")
    }

    private func survey(_ verb: String, _ base: Base?) throws(LabError) -> (sites: CallSites, calls: [Fault.Call: Int]) {
        try makeFolder()
        try base?.image.write(to: folder)
        let outcome = try start(verb, nil)
        guard outcome.end == .status(0) else { throw LabError("the adapter's \(verb) \(outcome.end): \(outcome.errors)") }
        var sites = CallSites()
        let told = try sites.add(try logged())
        return (sites, told.calls)
    }

    private func makeFolder() throws(LabError) {
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
    }

    private func start(_ verb: String, _ fault: Fault?) throws(LabError) -> ChildRuns.Outcome {
        unlink(log)
        var variables = ["VARVE_CRASHLAB_ROOT": folder, "VARVE_CRASHLAB_SITES": log]
        if let fault { variables["VARVE_CRASHLAB_FAULT"] = fault.variable }
        return try runs.run(verb, folder, seed: settings.seed, variables: variables)
    }

    private func logged() throws(LabError) -> [UInt8] { access(log, F_OK) == 0 ? try LabFile.read(log) : [] }

    // MARK: Failing

    private func perform(_ item: FaultCase) throws(LabError) {
        try makeFolder()
        let base = item.verb == "recover" ? stores[item.fault.number % stores.count] : nil
        try base?.image.write(to: folder)
        var acknowledged = base?.acknowledged ?? []
        let outcome = try start(item.verb, item.fault)
        acknowledged += outcome.acknowledged
        run.acknowledged(acknowledged.count)
        guard try sweep.log(try logged()).hasFailed else { return run.count("faults that did not come about") }
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
        try makeFolder()
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
        let report = try EnumeratorRun(lab, recording, seed: settings.seed, limit: 24, root: place).perform()
        run.count("power cuts after a failed sync", report.distinct)
        run.count("recoveries cut after it", report.recoveries)
        for var failure in report.failures {
            failure.moment = "\(fault), \(failure.moment)"
            run.found(failure)
        }
    }
}
