internal import CCrashRecorderHeader
internal import Glibc
internal import Synchronization

/// Layer 3 of the lab: calls that fail, in work and in recovery.
///
/// Each place that makes a call has one failed, then the first, second, … fiftieth call of each kind fails with each error that it
/// may have, once or from then on. The process must end with success or an error of its own, not by a signal and not never; the store
/// is checked then. After a sync that failed, its file's bytes may be lost or not until they are written again: what the work and a
/// recovery then leave is cut like a recording of the enumerator's.
public enum Faults {
    static let layer = "faults"
    static let mostCalls = 50

    public static func run(_ settings: LayerSettings) throws(LabError) -> LayerReport {
        guard let serve = settings.adapter.serve else { throw LabError("this adapter has no program that starts its runs") }
        let sweep = FaultSweep()
        var report = try LayerRun(layer, settings).perform { (run, number) throws(LabError) in
            var worker = try FaultWorker(run, sweep, number, serve)
            try worker.perform()
        }
        let (done, all, sites) = sweep.result
        report.count("faults of the sweep", all)
        report.count("of these tried", done)
        report.count("call sites", sites.innermostCount)
        report.count("call sites failed", sites.failedInnermostCount)
        report.count("ways to them", sites.sites.count)
        report.count("ways to them failed", sites.failed.count)
        if report.failures.isEmpty { report.notes += try sites.neverFailed().map { "never failed: \($0)" } }
        return report
    }
}

/// One fault in one run.
struct FaultCase: Hashable {
    var verb: String
    var fault: Fault
}

/// What the workers of the layer share.
final class FaultSweep: Sendable {
    private struct State {
        var cases: [FaultCase] = []
        var next = 0
        var sites = CallSites()
    }

    private let state = Mutex(State())

    var result: (done: Int, all: Int, CallSites) { state.withLock { ($0.next, $0.cases.count, $0.sites) } }

    /// Takes what the first worker found that makes no call fail, and orders what is to be done: places first.
    func begin(_ sites: CallSites, _ calls: [String: [Fault.Call: Int]], _ random: inout SplitMix) {
        var cases: [FaultCase] = []
        for (verb, counts) in calls.sorted(by: { $0.key < $1.key }) {
            for (call, count) in counts.sorted(by: { $0.key.rawValue < $1.key.rawValue }) where count > 0 {
                for (error, isLasting) in call.ends {
                    for number in 1...min(count, Faults.mostCalls) {
                        cases.append(.init(verb: verb, fault: .init(call: call, number: number, error: error, isLasting: isLasting)))
                    }
                }
            }
        }
        cases.shuffle(using: &random)
        state.withLock { state in
            state.sites.add(sites)
            state.cases = cases
        }
    }

    /// Places of a run, each to fail once.
    func add(_ sites: CallSites, verb: String) {
        state.withLock { state in
            state.sites.add(sites)
            let places = sites.sites.sorted { $0.key < $1.key }.map { hash, site in
                FaultCase(verb: verb, fault: .init(call: site.call, site: hash, number: 1, error: site.call.ends[0].error, isLasting: false))
            }
            state.cases.insert(contentsOf: places, at: state.next)
        }
    }

    func next() -> FaultCase? {
        state.withLock { state in
            guard state.next < state.cases.count else { return nil }
            defer { state.next += 1 }
            return state.cases[state.next]
        }
    }

    func log(_ text: [UInt8]) throws(LabError) -> CallSites.Log {
        try state.withLock { (state) throws(LabError) in try state.sites.add(text) }
    }
}
