internal import Glibc
internal import Synchronization

/// Layer 1 of the lab: every image that a power cut may leave of a traced run, each looked at by a checker in a process of its
/// own.
public struct Enumerator: Sendable {
    /// Does seeded operations on the store in a folder: called with the folder and the seed as its last arguments, it writes
    /// to its standard output what it has been told is done, after each operation that counts.
    public var work: [String]
    /// Says what a folder holds, line for line; see `CheckerProcess`.
    public var check: [String]
    /// The library that records.
    public var recorder: String
    /// Where images are made: in memory, as they are many.
    public var scratch: String
    public var exhaustive: Int
    public var checkers: Int

    public init(work: [String], check: [String], recorder: String, scratch: String, exhaustive: Int = 64, checkers: Int = 2) {
        self.work = work
        self.check = check
        self.recorder = recorder
        self.scratch = scratch
        self.exhaustive = exhaustive
        self.checkers = checkers
    }

    /// An image that does not hold what it must.
    public struct Violation: Sendable, CustomStringConvertible {
        public var seed: UInt64
        /// How many of the trace's events had happened.
        public var event: Int
        public var image: String
        public var finding: String
        /// The image itself, kept.
        public var folder: String

        public var description: String { "seed \(seed), event \(event), \(image): \(finding); kept in \(folder)" }
    }

    public struct Report: Sendable {
        public var points = 0
        /// Images before those that are the same were left out.
        public var images = 0
        public var distinct = 0
        public var acknowledgements = 0
        public var violations: [Violation] = []
    }

    private struct Shared {
        var next = 0
        var seen: Set<UInt64> = []
        var report = Report()
        var failure: LabError?
    }

    /// Works once with `seed` on a copy of `base`, and checks what a power cut at each moment may leave of it; no more than `limit`
    /// images.
    public func run(base: String, seed: UInt64, limit: Int = .max) throws(LabError) -> Report {
        let folder = "\(scratch)/work-\(seed)"
        let trace = "\(scratch)/trace-\(seed)"
        LabFile.remove(folder)
        unlink(trace)
        defer {
            LabFile.remove(folder)
            unlink(trace)
        }
        try LabFile.copy(base, to: folder)
        let disk = try SimulatedDisk(of: base)
        try record(folder, trace, seed)
        return try enumerate(Trace(contentsOf: trace), disk, seed, limit)
    }

    private func record(_ folder: String, _ trace: String, _ seed: UInt64) throws(LabError) {
        let (output, input) = try Spawn.pipe()
        let pid = try Spawn.start(
            work + [folder, "\(seed)"],
            environment: ["LD_PRELOAD": recorder, "VARVE_CRASHLAB_ROOT": folder, "VARVE_CRASHLAB_TRACE": trace, "VARVE_CRASHLAB_ACKS": "1"],
            descriptors: [(input, 1)])
        close(input)
        var bytes = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(output, &bytes, bytes.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { break }
        }
        close(output)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard status == 0 else { throw LabError("the work of seed \(seed) ended with status \(status)") }
    }

    /// A moment to look at, with what had been acknowledged.
    private struct Moment {
        var event: Int
        var point: CrashPoint
        var acknowledged: [UInt8]
    }

    private func enumerate(_ trace: Trace, _ start: SimulatedDisk, _ seed: UInt64, _ limit: Int) throws(LabError) -> Report {
        var disk = start
        var acknowledged: [UInt8] = []
        var acknowledgements = 0
        var moments: [Moment] = []
        for (index, event) in trace.events.enumerated() {
            switch event {
            case .acknowledge(let bytes):
                acknowledged += bytes
                acknowledgements += 1
                moments.append(Moment(event: index, point: CrashPoint(disk), acknowledged: acknowledged))
            case .syncEnd:
                // Until here all of it is pending; what the sync covers is not any more.
                moments.append(Moment(event: index, point: CrashPoint(disk), acknowledged: acknowledged))
                disk.apply(event)
            case .write(_, _, _, isSynchronous: true):
                moments.append(Moment(event: index, point: CrashPoint(disk), acknowledged: acknowledged))
                disk.apply(event)
            default: disk.apply(event)
            }
        }
        moments.append(Moment(event: trace.events.count, point: CrashPoint(disk), acknowledged: acknowledged))

        let shared = Mutex(Shared())
        let work = moments
        var threads: [pthread_t] = []
        for number in 0..<checkers {
            let run = Run { self.checkMoments(work, seed, limit, number, shared) }
            var thread = pthread_t()
            let box = Unmanaged.passRetained(run)
            let code = pthread_create(
                &thread, nil,
                { argument in
                    Unmanaged<Run>.fromOpaque(argument!).takeRetainedValue().body()
                    return nil
                }, box.toOpaque())
            guard code == 0 else {
                box.release()
                throw LabError("no thread: \(String(cString: strerror(code)))")
            }
            threads.append(thread)
        }
        for thread in threads { pthread_join(thread, nil) }
        var report = shared.withLock { $0.report }
        if let failure = shared.withLock({ $0.failure }) { throw failure }
        report.points = moments.count
        report.acknowledgements = acknowledgements
        return report
    }

    private final class Run: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private func checkMoments(_ moments: [Moment], _ seed: UInt64, _ limit: Int, _ number: Int, _ shared: borrowing Mutex<Shared>) {
        let checker = CheckerProcess(check)
        let folder = "\(scratch)/image-\(seed)-\(number)"
        LabFile.remove(folder)
        defer { LabFile.remove(folder) }
        while true {
            let index = shared.withLock { shared -> Int? in
                guard shared.next < moments.count, shared.failure == nil, shared.report.distinct < limit else { return nil }
                defer { shared.next += 1 }
                return shared.next
            }
            guard let index else { return }
            let moment = moments[index]
            var random = SplitMix(state: seed &+ UInt64(moment.event))
            do throws(LabError) {
                try moment.point.forEach(CrashPoint.Limits(exhaustive: exhaustive), &random) { (image) throws(LabError) in
                    var identity = WordHash(image.hash)
                    identity.add(UInt64(moment.acknowledged.count))
                    let value = identity.value
                    let isNew = shared.withLock { shared in
                        shared.report.images += 1
                        guard shared.report.distinct < limit, shared.seen.insert(value).inserted else { return false }
                        shared.report.distinct += 1
                        return true
                    }
                    guard isNew else { return true }
                    LabFile.remove(folder)
                    guard mkdir(folder, 0o700) == 0 else { throw LabError("\(folder): \(String(cString: strerror(errno)))") }
                    try image.write(to: folder)
                    guard let finding = try checker.check(folder, seed: seed, acknowledged: moment.acknowledged) else { return true }
                    let kept = "\(scratch)/violation-\(seed)-\(moment.event)-\(value)"
                    LabFile.remove(kept)
                    guard mkdir(kept, 0o700) == 0 else { throw LabError("\(kept): \(String(cString: strerror(errno)))") }
                    try image.write(to: kept)
                    shared.withLock {
                        $0.report.violations.append(
                            Violation(seed: seed, event: moment.event, image: image.description, finding: finding, folder: kept))
                    }
                    return true
                }
            } catch {
                shared.withLock { $0.failure = error }
                return
            }
        }
    }
}

/// SplitMix64: the same choices for the same seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
