internal import Glibc

/// Layer 4 of the lab: a file system that is shut down in the middle of the work (FS_IOC_SHUTDOWN), with and without its log
/// flushed, mounted again, and recovered. What was not synced is lost then; nothing is torn or comes out of order.
///
/// `LayerSettings.disk` is where a file system of its own is mounted, from a loop device: the layer unmounts and mounts it.
public enum Shutdowns {
    static let layer = "shutdown"
    fileprivate static let mostCuts = 3

    public static func run(_ settings: LayerSettings) throws(LabError) -> LayerReport {
        guard let serve = settings.adapter.serve else { throw LabError("this adapter has no program that starts its runs") }
        guard let place = settings.disk else { return .skipped(layer, because: "it needs a file system of its own on a loop device; Tools/crashlab makes one") }
        guard geteuid() == 0 else { return .skipped(layer, because: "only root may shut a file system down") }
        guard let mount = try MountedDisk(place) else { return .skipped(layer, because: "no file system on a loop device of its own (losetup) is mounted at \(place)") }
        var settings = settings
        settings.workers = 1
        return try LayerRun(layer, settings).perform { (run, _) throws(LabError) in
            var worker = try ShutdownWorker(run, mount, serve)
            try worker.perform()
        }
    }
}

/// A file system on a loop device, and where it is mounted.
struct MountedDisk: Sendable {
    private let device: String
    let path: String
    private let type: String

    /// nil where nothing is mounted there, or no loop device, or one that goes with its file system (`mount -o loop`).
    init?(_ place: String) throws(LabError) {
        let root = try LabFile.resolved(place)
        let file = open("/proc/self/mounts", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .system("/proc/self/mounts") }
        defer { close(file) }
        var text: [UInt8] = [], part = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(file, &part, part.count)
            if count <= 0 { break }
            text += part[..<count]
        }
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        guard let line = lines.last(where: { $0.count > 2 && $0[1] == root }), line[0].hasPrefix("/dev/loop") else { return nil }
        let flag = open("/sys/block/\(line[0].dropFirst("/dev/".count))/loop/autoclear", O_RDONLY | O_CLOEXEC)
        defer { if flag >= 0 { close(flag) } }
        guard flag >= 0, read(flag, &part, 1) == 1, part[0] == UInt8(ascii: "0") else { return nil }
        (device, path, type) = (line[0], root, line[2])
    }

    /// `keepsLog`: what the file system's journal holds is written first.
    func shutDown(keepsLog: Bool) throws(LabError) {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw .system(path) }
        defer { close(folder) }
        var how: UInt32 = keepsLog ? 1 : 2
        // FS_IOC_SHUTDOWN, _IOR('X', 125, u32).
        guard ioctl(folder, 0x8004_587d, &how) == 0 else { throw .system("shutting \(path) down") }
    }

    func mountAgain() throws(LabError) {
        // A process that has just ended may still be on its way out.
        var tries = 0
        while umount2(path, 0) != 0 {
            guard errno == EBUSY, tries < 100 else { throw .system("unmounting \(path)") }
            tries += 1
            usleep(10_000)
        }
        guard mount(device, path, type, 0, nil) == 0 else { throw .system("mounting \(device) at \(path)") }
    }
}

private struct ShutdownWorker {
    private let run: LayerRun
    private let settings: LayerSettings
    private let disk: MountedDisk
    private let runs: ChildRuns
    private let checker: CheckerProcess
    private let folder: String
    private var workTime = 0
    private var recoveryTime = 0

    init(_ run: LayerRun, _ disk: MountedDisk, _ serve: [String]) throws(LabError) {
        self.run = run
        self.disk = disk
        settings = run.settings
        runs = ChildRuns(serve, output: "\(try LabFile.resolved(settings.scratch))/printed")
        checker = CheckerProcess(settings.adapter.check)
        folder = disk.path + "/store"
    }

    mutating func perform() throws(LabError) {
        try makeFolder()
        // The first run finds nothing ready.
        _ = try time("work")
        try makeFolder()
        workTime = try time("work")
        recoveryTime = try time("recover")
        while let round = run.next() { try cut(round) }
        LabFile.remove(folder)
    }

    private func makeFolder() throws(LabError) {
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        // The folder is the lab's: what may be lost is what is made in it.
        let parent = open(disk.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw .system(disk.path) }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw .system(disk.path) }
    }

    private func time(_ verb: String) throws(LabError) -> Int {
        let begun = ContinuousClock.now
        let outcome = try runs.run(verb, folder, seed: settings.seed)
        guard outcome.end == .status(0) else { throw LabError("the adapter's \(verb) \(outcome.end): \(outcome.errors)") }
        return max(2, Int((ContinuousClock.now - begun) / .microseconds(1)))
    }

    private func cut(_ round: Int) throws(LabError) {
        let seed = settings.seed &+ UInt64(round)
        var random = SplitMix(state: SplitMix.mix(seed))
        try makeFolder()
        var acknowledged: [String] = []
        var moments: [String] = []
        for part in 0..<Int.random(in: 1...Shutdowns.mostCuts, using: &random) {
            let verb = part == 0 ? "work" : "recover"
            let whole = part == 0 ? workTime : recoveryTime
            let delay = Int.random(in: 1...Int.random(in: 2...whole, using: &random), using: &random)
            let keepsLog = Int.random(in: 0..<4, using: &random) == 0
            let outcome = try runs.run(verb, folder, seed: seed) { () throws(LabError) in
                usleep(UInt32(delay))
                try disk.shutDown(keepsLog: keepsLog)
            }
            acknowledged += outcome.acknowledged
            moments.append("\(verb) cut after \(delay) µs\(keepsLog ? ", the log kept" : ""), \(outcome.end)")
            // How it ended is no matter: the computer had.
            run.count("shutdowns")
            try disk.mountAgain()
        }
        run.acknowledged(acknowledged.count)
        let image = try FolderImage(of: folder)
        var identity = WordHash(image.hash)
        identity.add(UInt64(acknowledged.count))
        run.saw(identity.value)
        guard let finding = try checker.check(folder, seed: seed, acknowledged: acknowledged) else { return }
        checker.end()
        try run.fail(
            seed: seed, moments.joined(separator: ", "), "what was there when it was mounted again", finding, acknowledged: acknowledged,
            folder: "shutdown-\(seed)"
        ) { (folder) throws(LabError) in try image.write(to: folder) }
    }
}
