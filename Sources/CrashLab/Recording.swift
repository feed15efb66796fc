internal import Glibc

/// The moments of a traced run at which a power cut leaves something new, with what had been acknowledged by then.
struct Recording {
    struct Moment {
        /// How many of the trace's events had happened.
        var event: Int
        var disk: SimulatedDisk
        var point: CrashPoint { CrashPoint(disk) }
        var acknowledged: Int
    }

    private(set) var moments: [Moment] = []
    /// What the run printed, whole lines.
    private(set) var acknowledged: [String] = []
    private(set) var events = 0
    private var failedSync: Int?

    /// Runs `command` under the recorder on `folder`, which holds what `disk` holds, and follows its trace. `mayFail`: that it ends
    /// with an error is no matter.
    init(
        _ command: [String], in folder: String, on disk: SimulatedDisk, recorder: String, lying: [String], trace path: String,
        variables: [String: String] = [:], mayFail: Bool = false
    ) throws(LabError) {
        // What the recorder notes beside the trace, too.
        func remove() { for name in [path, path + ".process"] { unlink(name) } }
        remove()
        defer { remove() }
        var environment = variables
        environment["LD_PRELOAD"] = recorder
        environment["VARVE_CRASHLAB_ROOT"] = folder
        environment["VARVE_CRASHLAB_TRACE"] = path
        environment["VARVE_CRASHLAB_ACKS"] = "1"
        if let end = try Spawn.run(command, environment: environment, isQuiet: mayFail), !mayFail {
            throw LabError("`\(command.joined(separator: " "))` \(end)")
        }
        try follow(Trace(contentsOf: path, lying: lying), disk)
    }

    /// Keeps the moments after the first sync that failed; false where none did.
    mutating func keepAfterFailedSync() -> Bool {
        guard let failedSync else { return false }
        moments.removeAll { $0.event < failedSync }
        return true
    }

    private mutating func follow(_ trace: Trace, _ start: SimulatedDisk) throws(LabError) {
        var disk = start
        var line: [UInt8] = []
        events = trace.events.count
        for (index, event) in trace.events.enumerated() {
            switch event {
            case .acknowledge(let bytes, _):
                for byte in bytes {
                    if byte != UInt8(ascii: "\n") {
                        line.append(byte)
                        continue
                    }
                    acknowledged.append(String(decoding: line, as: UTF8.self))
                    line = []
                }
                look(disk, index)
            case .syncEnd:
                // Until here all of it is pending; what the sync covers is not any more.
                look(disk, index)
                try disk.apply(event)
            case .write(let file, let offset, let bytes, isSynchronous: true):
                try disk.apply(event)
                look(disk, index)
                disk.finish(synchronousWriteOf: bytes.count, at: offset, to: file)
            case .syncFailed:
                try disk.apply(event)
                failedSync = failedSync ?? index
                look(disk, index)
            default: try disk.apply(event)
            }
        }
        look(disk, trace.events.count)
    }

    private mutating func look(_ disk: SimulatedDisk, _ event: Int) {
        moments.append(Moment(event: event, disk: disk, acknowledged: acknowledged.count))
    }
}
