internal import Synchronization

/// What a layer of the lab is given.
public struct LayerSettings: Sendable {
    public var adapter: Adapter
    /// The library that records, and lets calls fail.
    public var recorder: String
    /// A folder of its own for the stores that it makes.
    public var scratch: String
    /// Where failures are kept.
    public var failures: String
    public var seed: UInt64
    /// How long it may search.
    public var seconds: Double = 30
    /// It stops after so many states, where that is earlier.
    public var states = Int.max
    public var workers = 2
    public var mostFailures = 10
    /// A folder on a file system of the layer's own, for those that need one.
    public var disk: String?

    public init(adapter: Adapter, recorder: String, scratch: String, failures: String, seed: UInt64) {
        self.adapter = adapter
        self.recorder = recorder
        self.scratch = scratch
        self.failures = failures
        self.seed = seed
    }
}

/// What a layer did and found.
public struct LayerReport: Sendable {
    public var layer: String
    /// Stores that were checked and that no other was the same as.
    public var states = 0
    public var acknowledgements = 0
    /// What else it counts, in words of its own.
    public var counts: [(name: String, value: Int)] = []
    /// What is to be said besides.
    public var notes: [String] = []
    public var failures: [Failure] = []
    /// Why nothing was done.
    public var skipped: String?
    public var seconds = 0.0
    /// Where something is known to be wrong: what, among how many states, and whether it was noticed.
    public var control: (what: String, states: Int, isNoticed: Bool)?

    public init(layer: String) { self.layer = layer }

    public static func skipped(_ layer: String, because reason: String) -> LayerReport {
        var report = LayerReport(layer: layer)
        report.skipped = reason
        return report
    }

    /// Whether nothing is wrong: neither with the store nor with the lab.
    public var isClean: Bool { failures.isEmpty && control?.isNoticed != false }

    mutating func count(_ name: String, _ value: Int = 1) {
        if let index = counts.firstIndex(where: { $0.name == name }) { counts[index].value += value } else { counts.append((name, value)) }
    }
}

/// What the threads of one layer's run share.
final class LayerRun: Sendable {
    private struct State {
        var report: LayerReport
        var seen: Set<UInt64> = []
        var next = 0
        var findings: [String: Int] = [:]
        var kinds: Set<String> = []
    }

    let settings: LayerSettings
    private let state: Mutex<State>
    private let end: ContinuousClock.Instant

    init(_ layer: String, _ settings: LayerSettings) {
        self.settings = settings
        state = Mutex(State(report: LayerReport(layer: layer)))
        end = ContinuousClock.now + .seconds(settings.seconds)
    }

    /// Calls `body` on the threads; the report then.
    func perform(_ body: @escaping @Sendable (LayerRun, Int) throws(LabError) -> Void) throws(LabError) -> LayerReport {
        let begun = ContinuousClock.now
        try LabThreads.run(settings.workers) { (number) throws(LabError) in try body(self, number) }
        let elapsed = (ContinuousClock.now - begun).components
        return state.withLock { state in
            state.report.seconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
            return state.report
        }
    }

    /// The next number of what is to be done; nil where the run is over.
    func next(below limit: Int = .max) -> Int? {
        let isLate = ContinuousClock.now >= end
        return state.withLock { state in
            guard !isLate, state.next < limit, state.report.states < settings.states, state.report.failures.count < settings.mostFailures
            else { return nil }
            defer { state.next += 1 }
            return state.next
        }
    }

    /// Whether there is more to be done; also in the middle of it.
    var goesOn: Bool {
        let isLate = ContinuousClock.now >= end
        return state.withLock { !isLate && $0.report.states < settings.states && $0.report.failures.count < settings.mostFailures }
    }

    func count(_ name: String, _ value: Int = 1) { state.withLock { $0.report.count(name, value) } }
    func note(_ text: String) { state.withLock { if !$0.report.notes.contains(text) { $0.report.notes.append(text) } } }
    func acknowledged(_ count: Int) { state.withLock { $0.report.acknowledgements += count } }

    /// Counts a state that was looked at, by its identity; false where one was the same.
    @discardableResult
    func saw(_ identity: UInt64) -> Bool {
        state.withLock { state in
            guard state.seen.insert(identity).inserted else { return false }
            state.report.states += 1
            return true
        }
    }

    /// The same of a store's files, with what had been acknowledged.
    @discardableResult
    func saw(_ image: FolderImage, _ acknowledged: [String]) -> Bool {
        var identity = WordHash(image.hash)
        identity.add(UInt64(acknowledged.count))
        // The last line may be what a recovery said.
        if let last = acknowledged.last { identity.add(WordHash(last).value) }
        return saw(identity.value)
    }

    /// Takes a failure that is kept already.
    func found(_ failure: Failure) { state.withLock { $0.report.failures.append(failure) } }

    /// Whether it is the first finding of its kind.
    func isNews(_ finding: String) -> Bool { state.withLock { $0.kinds.insert(Least.kind(of: finding)).inserted } }

    /// Keeps a failure. Of several with the same finding the one with the fewest acknowledgements stays.
    func fail(
        seed: UInt64, _ moment: String, _ image: String, _ finding: String, acknowledged: [String], check: [String]? = nil, folder name: String,
        faulty: FaultyRun? = nil, _ write: (String) throws(LabError) -> Void
    ) throws(LabError) {
        let folder = "\(settings.failures)/\(name)"
        let isShortest = state.withLock { state in
            if let known = state.findings[finding], known <= acknowledged.count { return false }
            state.findings[finding] = acknowledged.count
            return true
        }
        guard isShortest else { return count("violations of the same kind") }
        let failure = Failure(seed: seed, moment: moment, image: image, finding: finding, folder: folder)
        try failure.keep(acknowledged: acknowledged, check: check ?? settings.adapter.check, write)
        try faulty?.keep(in: folder)
        let replaced = state.withLock { state -> Failure? in
            let index = state.report.failures.firstIndex { $0.finding == finding }
            let old = index.map { state.report.failures.remove(at: $0) }
            state.report.failures.append(failure)
            return old
        }
        if let replaced { LabFile.remove(replaced.folder) }
    }
}
