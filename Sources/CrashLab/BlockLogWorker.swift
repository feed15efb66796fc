internal import Glibc

/// One thread's rounds: a run of the work on a logged disk and images of it, then a recovery from one of them, and images of that.
struct BlockLogWorker {
    /// Images of one run, and of one recovery.
    private static let mostOfWork = 150
    private static let mostOfRecovery = 30

    /// A state that a run begins with.
    private struct Start {
        var volume: BlockVolume
        var acknowledged: [String]
        var moment: String
    }

    /// What was printed, with the log's length at that moment.
    private struct Mark {
        var line: String
        var logSize: Int
    }

    private let run: LayerRun
    private let settings: LayerSettings
    private let type: BlockVolume.FileSystem
    private let empty: BlockVolume
    private let root: String
    private let checker: CheckerProcess

    init(_ run: LayerRun, _ number: Int, _ empty: BlockVolume, _ type: BlockVolume.FileSystem) throws(LabError) {
        self.run = run
        self.empty = empty
        self.type = type
        settings = run.settings
        root = "\(try LabFile.resolved(settings.scratch))/block-log-\(number)"
        checker = CheckerProcess(settings.adapter.check)
    }

    func perform() throws(LabError) {
        LabFile.remove(root)
        try LabFile.makeFolder(root)
        defer { LabFile.remove(root) }
        while let round = run.next() { try cut(round) }
    }

    private func cut(_ round: Int) throws(LabError) {
        let seed = settings.seed &+ UInt64(round)
        var random = SplitMix(state: SplitMix.mix(seed))
        let start = Start(volume: empty, acknowledged: [], moment: "work")
        guard let left = try cut(settings.adapter.work, ["\(seed)"], start, seed, Self.mostOfWork, &random) else { return }
        run.count("recoveries cut again")
        _ = try cut(settings.adapter.recover, [], left, seed, Self.mostOfRecovery, &random)
    }

    // MARK: Recording

    /// Runs a command on what `start` left, and looks at up to `most` images; one of them, drawn at random.
    private func cut(
        _ command: [String], _ arguments: [String], _ start: Start, _ seed: UInt64, _ most: Int, _ random: inout SplitMix
    ) throws(LabError) -> Start? {
        let disk = try LoggedDisk(start.volume, type, in: root + "/disk")
        let store = disk.place + "/store"
        var begun = 0
        var marks: [Mark] = []
        let log = try disk.perform { () throws(LabError) in
            try makeDurable(store, on: disk)
            begun = try LabFile.size(disk.log)
            marks = try record(command + [store] + arguments, disk)
        }
        run.count("requests logged", log.entries.count)
        run.acknowledged(marks.count)
        return try look(log, from: begun, marks, start, seed, most, &random)
    }

    /// The folder is the lab's: what may be lost is what is made in it.
    private func makeDurable(_ store: String, on disk: LoggedDisk) throws(LabError) {
        if !LabFile.isFolder(store) { try LabFile.makeFolder(store) }
        let parent = open(disk.place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw .system(disk.place) }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw .system(disk.place) }
    }

    private func record(_ command: [String], _ disk: LoggedDisk) throws(LabError) -> [Mark] {
        let trace = root + "/trace"
        func remove() { for name in [trace, trace + ".process"] { unlink(name) } }
        remove()
        defer { remove() }
        // Below a folder in which nothing is: only acknowledgements are recorded.
        let environment = [
            "LD_PRELOAD": settings.recorder, "VARVE_CRASHLAB_ROOT": root + "/nothing", "VARVE_CRASHLAB_TRACE": trace, "VARVE_CRASHLAB_ACKS": "1",
            "VARVE_CRASHLAB_LOG": disk.log,
        ]
        if let end = try Spawn.run(command, environment: environment) { throw LabError("`\(command.joined(separator: " "))` \(end)") }
        var marks: [Mark] = [], line: [UInt8] = []
        for case .acknowledge(let bytes, let logSize) in try Trace(contentsOf: trace).events {
            for byte in bytes {
                if byte != UInt8(ascii: "\n") { line.append(byte) } else {
                    marks.append(Mark(line: String(decoding: line, as: UTF8.self), logSize: logSize))
                    line = []
                }
            }
        }
        return marks
    }

    // MARK: Looking

    private func look(
        _ log: WriteLog, from begun: Int, _ marks: [Mark], _ start: Start, _ seed: UInt64, _ most: Int, _ random: inout SplitMix
    ) throws(LabError) -> Start? {
        let image = open(root + "/image", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard image >= 0 else { throw .system(root + "/image") }
        defer { close(image) }
        let epochs = log.epochs(from: begun)
        // Where not all can be looked at, those that are lie anywhere.
        let chosen = epochs.shuffled(using: &random).prefix(max(1, most / 6)).sorted { $0.durable < $1.durable }
        var volume = start.volume
        var applied = 0, count = 0
        var kept: Start?
        var draw = SplitMix(state: random.next())
        for epoch in chosen where run.goesOn {
            for index in applied..<epoch.durable { volume.apply(log.entries[index], of: log) }
            applied = epoch.durable
            let acknowledged = start.acknowledged + marks.filter { $0.logSize <= epoch.end }.map(\.line)
            let point = BlockCut(log, epoch, on: volume)
            try point.forEach(&random) { (cut) throws(LabError) in
                let moment = "\(start.moment) cut before request \(epoch.pending.upperBound) was over"
                guard try look(cut, of: point, moment, acknowledged, seed, image) else { return run.goesOn }
                count += 1
                if Int.random(in: 0..<count, using: &draw) == 0 {
                    kept = Start(volume: cut.volume, acknowledged: acknowledged, moment: "\(moment), \(cut.description); recovery")
                }
                return run.goesOn
            }
        }
        return kept
    }

    /// Lets the file system recover an image, and checks what it shows then; whether that was new, and right.
    private func look(
        _ cut: BlockCut.Image, of point: BlockCut, _ moment: String, _ acknowledged: [String], _ seed: UInt64, _ image: Int32
    ) throws(LabError) -> Bool {
        run.count("images")
        var files: FolderImage
        switch try mount(cut, image) {
        case .success(let found): files = found
        case .failure(let error):
            // That a file system does not survive is not the store's fault; some don't survive torn blocks of theirs.
            run.count(cut.torn == nil ? "images that the file system refuses" : "images with a torn request that the file system refuses")
            run.note("\(type.rawValue) with \(cut.description): \(error)")
            return false
        }
        guard run.saw(files, acknowledged) else { return false }
        guard var finding = try check(files, acknowledged, seed) else { return true }
        var description = cut.description
        if run.isNews(finding) {
            _ = try Least.of(cut.choice, until: Least.patience) { (fewer) throws(LabError) in
                let less = point.image(fewer, torn: cut.torn)
                guard case .success(let found) = try mount(less, image), let words = try check(found, acknowledged, seed),
                    Least.kind(of: words) == Least.kind(of: finding)
                else { return false }
                (files, finding, description) = (found, words, less.description)
                return true
            }
        }
        try run.fail(
            seed: seed, moment, description, finding, acknowledged: acknowledged,
            folder: "block-log-\(type.rawValue)-\(seed)-\(acknowledged.count)-\(String(files.hash, radix: 16))"
        ) { (folder) throws(LabError) in try files.write(to: folder) }
        return false
    }

    /// The store's files that an image shows, or why the file system does not show them.
    private func mount(_ cut: BlockCut.Image, _ image: Int32) throws(LabError) -> Result<FolderImage, LabError> {
        try cut.volume.write(to: image)
        let place = root + "/mounted"
        if !LabFile.isFolder(place) { try LabFile.makeFolder(place) }
        let device = try LoopDevice(over: image)
        if let error = device.mount(at: place, type, readOnly: true) { return .failure(error) }
        let files: FolderImage
        do throws(LabError) { files = try FolderImage(of: place + "/store") } catch { return .failure(error) }
        try device.unmount()
        return .success(files)
    }

    private func check(_ files: FolderImage, _ acknowledged: [String], _ seed: UInt64) throws(LabError) -> String? {
        let folder = root + "/store"
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        try files.write(to: folder)
        let finding = try checker.check(folder, seed: seed, acknowledged: acknowledged)
        // What a checker held open of a bad image must not be found wrong with the next one.
        if finding != nil { checker.end() }
        return finding
    }
}
