internal import Glibc

/// Layer 5 of the lab: a file system of a few MiB that is full before, or while, the work is done, and full while it is recovered.
///
/// It takes a small file system of its own, which `LayerSettings.disk` lies on: the layer fills it. Each round leaves some space, so
/// that it runs out anywhere in the work; the store is recovered with the disk as full as it is, then room is made, and it is checked.
public enum FullDisks {
    static let layer = "full-disks"
    private static let largest = 512 << 20

    public static func run(_ settings: LayerSettings) throws(LabError) -> LayerReport {
        guard let serve = settings.adapter.serve else { throw LabError("this adapter has no program that starts its runs") }
        guard let place = settings.disk else { return .skipped(layer, because: "it needs a small file system of its own; Tools/crashlab makes one") }
        let disk = try Disk(place)
        guard disk.size <= largest else { return .skipped(layer, because: "\(place) lies on a file system of more than \(largest >> 20) MiB; the layer fills it") }
        var settings = settings
        settings.workers = 1
        return try LayerRun(layer, settings).perform { (run, _) throws(LabError) in
            try FullDiskWorker(run, disk, place, serve).perform()
        }
    }

    /// The file system that a folder lies on.
    struct Disk: Sendable {
        let path: String

        init(_ path: String) throws(LabError) {
            self.path = path
            var info = statvfs()
            guard statvfs(path, &info) == 0 else { throw .system(path) }
        }

        private var info: statvfs {
            var info = statvfs()
            _ = statvfs(path, &info)
            return info
        }

        var size: Int { Int(info.f_blocks) * Int(info.f_frsize) }
        var free: Int { Int(info.f_bavail) * Int(info.f_frsize) }

        /// Fills it with a file until `bytes` are free, to a block or two.
        func leave(_ bytes: Int, by ballast: String) throws(LabError) {
            let file = open(ballast, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            guard file >= 0 else {
                // There is no room for so much as its name.
                if errno == ENOSPC { return }
                throw .system(ballast)
            }
            defer { close(file) }
            var size = 0, step = 1 << 30
            while step >= 4096 {
                let part = min(step, (free - bytes) & ~4095)
                if part >= 4096, posix_fallocate(file, off_t(size), off_t(part)) == 0 { size += part } else { step /= 2 }
            }
        }
    }
}

private struct FullDiskWorker {
    private let run: LayerRun
    private let settings: LayerSettings
    private let disk: FullDisks.Disk
    private let runs: ChildRuns
    private let checker: CheckerProcess
    private let folder: String
    private let ballast: String

    init(_ run: LayerRun, _ disk: FullDisks.Disk, _ place: String, _ serve: [String]) throws(LabError) {
        self.run = run
        self.disk = disk
        settings = run.settings
        runs = ChildRuns(serve, output: "\(try LabFile.resolved(settings.scratch))/printed")
        checker = CheckerProcess(settings.adapter.check)
        let root = try LabFile.resolved(place)
        folder = root + "/store"
        ballast = root + "/ballast"
    }

    func perform() throws(LabError) {
        try begin()
        let free = disk.free
        _ = try work(settings.seed)
        // What the work takes when nothing is in its way, and a little.
        let most = (free - disk.free) * 5 / 4 + 65536
        while let round = run.next() { try fill(round, most) }
        try begin()
        LabFile.remove(folder)
    }

    private func begin() throws(LabError) {
        unlink(ballast)
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
    }

    private func work(_ seed: UInt64) throws(LabError) -> ChildRuns.Outcome { try runs.run("work", folder, seed: seed) }

    private func fill(_ round: Int, _ most: Int) throws(LabError) {
        let seed = settings.seed &+ UInt64(round)
        var random = SplitMix(state: SplitMix.mix(seed))
        try begin()
        // Some file systems keep more for themselves than they say, others let the last blocks be written to that nobody can
        // reserve: one round in four leaves what can't be taken.
        let isFull = Int.random(in: 0..<4, using: &random) == 0
        let left = isFull ? 0
            : Int.random(in: 0...most, using: &random) + (Bool.random(using: &random) ? 0 : Int.random(in: 0...2 << 20, using: &random))
        try disk.leave(left, by: ballast)
        var acknowledged: [String] = []
        var problem: String?
        var said = ""
        for verb in ["work", "recover"] {
            let outcome = try runs.run(verb, folder, seed: seed)
            acknowledged += outcome.acknowledged
            said = outcome.errors
            switch outcome.end {
            case .status(0): run.count("\(verb) that succeeded")
            case .status: run.count("\(verb) that told an error")
            default: problem = problem ?? "the \(verb) \(outcome.end)"
            }
            // Then no byte is free.
            try disk.leave(0, by: ballast + "-2")
        }
        run.acknowledged(acknowledged.count)
        let image = try FolderImage(of: folder)
        unlink(ballast)
        unlink(ballast + "-2")
        run.saw(image, acknowledged)
        if problem == nil { problem = try checker.check(folder, seed: seed, acknowledged: acknowledged) }
        guard let problem else { return }
        checker.end()
        try run.fail(
            seed: seed, "\(left) bytes were free", "what was there when room had been made (\(said.prefix(300)))", problem, acknowledged: acknowledged,
            folder: "full-disks-\(seed)"
        ) { (folder) throws(LabError) in try image.write(to: folder) }
    }
}
