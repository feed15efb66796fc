internal import Glibc
internal import Synchronization

/// Layer 1 of the lab: every image that a power cut may leave of a traced run, each looked at by a checker in a process of its
/// own; and what a second cut may leave of the recoveries from some of them.
public struct Enumerator: Sendable {
    public var adapter: Adapter
    /// The library that records.
    public var recorder: String
    /// Where images are made: in memory, as they are many.
    public var scratch: String
    /// Where failures are kept.
    public var failures: String
    /// Processes that check, at once.
    public var checkers = 2
    /// Of so many images the recovery of one is traced and cut too; 0: of none.
    public var recoveryEvery = 150
    /// Files (the ends of their paths) whose synchronisations count for nothing.
    public var lying: [String] = []
    /// A run is given up after so many failures.
    public var mostFailures = 10

    public init(adapter: Adapter, recorder: String, scratch: String, failures: String) {
        self.adapter = adapter
        self.recorder = recorder
        self.scratch = scratch
        self.failures = failures
    }

    public struct Report: Sendable {
        public var runs = 0
        /// Moments that were looked at.
        public var moments = 0
        /// Images before those that are the same were left out.
        public var images = 0
        /// Images that were checked, each with what had been acknowledged.
        public var distinct = 0
        public var acknowledgements = 0
        /// Recoveries that were traced and cut.
        public var recoveries = 0
        public var failures: [Failure] = []

        public init() {}

        /// As other layers' reports are.
        public var asLayer: LayerReport {
            var report = LayerReport(layer: "enumerator")
            report.states = distinct
            report.acknowledgements = acknowledgements
            report.counts = [("runs", runs), ("moments", moments), ("images before duplicates were left out", images), ("recoveries cut again", recoveries)]
            report.failures = failures
            return report
        }

        public mutating func add(_ other: Report) {
            runs += other.runs
            moments += other.moments
            images += other.images
            distinct += other.distinct
            acknowledgements += other.acknowledgements
            recoveries += other.recoveries
            failures += other.failures
        }
    }

    /// Works once with `seed`, and checks what a power cut at each moment may leave of it; no more than `limit` images.
    public func run(seed: UInt64, limit: Int = .max) throws(LabError) -> Report {
        let root = try LabFile.resolved(scratch)
        let folder = "\(root)/work-\(seed)"
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        defer { LabFile.remove(folder) }
        let recording = try Recording(
            adapter.work + [folder, "\(seed)"], in: folder, on: SimulatedDisk(), recorder: recorder, lying: lying,
            trace: "\(root)/trace-\(seed)")
        var report = try EnumeratorRun(self, recording, seed: seed, limit: limit, root: root).perform()
        report.runs = 1
        report.acknowledgements = recording.acknowledged.count
        return report
    }
}
