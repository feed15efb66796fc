/// A part of layer 7 of the lab: the bits of a store as small as one can be, flipped one after the other, each once. What comes of it
/// must be an error or intact data.
public enum EveryBit {
    static let layer = "bits"
    /// Before one flip in so many the store is looked at without any.
    private static let soundEvery = 256

    public static func run(_ settings: LayerSettings) throws(LabError) -> LayerReport {
        guard let serve = settings.adapter.serve, let inspect = settings.adapter.inspectSmall ?? settings.adapter.inspect else {
            return .skipped(layer, because: "this adapter does not tell errors of the store's own from wrong bytes (no 'inspect')")
        }
        let root = try LabFile.resolved(settings.scratch)
        let made = "\(root)/small"
        LabFile.remove(made)
        try LabFile.makeFolder(made)
        defer { LabFile.remove(made) }
        let verb = settings.adapter.inspectSmall == nil ? "work" : "small"
        let outcome = try ChildRuns(serve, output: "\(root)/printed").run(verb, made, seed: settings.seed)
        guard outcome.end == .status(0) else { throw LabError("the adapter's \(verb) \(outcome.end): \(outcome.errors)") }
        let image = try FolderImage(of: made)
        let flips = BitFlips(of: image, seed: settings.seed)
        var report = try LayerRun(layer, settings).perform { (run, number) throws(LabError) in
            let checker = CheckerProcess(inspect)
            let folder = ImageFolder("\(root)/flipped-\(number)")
            defer { folder.remove() }
            var count = 0
            while let index = run.next(below: flips.count) {
                // A checker that refuses everything notices nothing.
                if count % soundEvery == 0 {
                    try folder.hold(image)
                    let finding = try checker.check(folder.path, seed: settings.seed, acknowledged: outcome.acknowledged)
                    if let finding { throw LabError("the store is not sound without a flipped bit: \(finding)") }
                }
                count += 1
                let (file, bit) = flips[index]
                let path = image.files[file].path
                var bytes = image.files[file].bytes ?? []
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
                try folder.hold(image, replacing: (path, bytes))
                run.saw(WordHash(UInt64(index)).value)
                run.acknowledged(outcome.acknowledged.count)
                let finding = try checker.check(folder.path, seed: settings.seed, acknowledged: outcome.acknowledged)
                guard let finding else {
                    run.count("intact")
                    continue
                }
                if finding.hasPrefix("refused") {
                    run.count("refused")
                    continue
                }
                if finding.hasPrefix("ok ") {
                    run.count("intact, at an earlier version")
                    continue
                }
                checker.end()
                try run.fail(
                    seed: settings.seed, "\(path): bit \(bit % 8) of byte \(bit / 8) flipped", "the file that was damaged", finding,
                    acknowledged: outcome.acknowledged, check: inspect, folder: "bits-\(settings.seed)-\(index)"
                ) { (folder) throws(LabError) in try image.write(to: folder, replacing: (path, bytes)) }
            }
        }
        report.notes.append(
            "\(flips.inUse) bits in lines of 64 bytes that are not zeros, \(flips.zeroLines) lines of zeros with one bit of each: "
                + (report.states == flips.count ? "all flipped" : "\(report.states) of \(flips.count) flipped"))
        return report
    }
}

/// The bits of an image that are flipped, in an order without an order: all bits of each line of 64 bytes that are not all zeros, and
/// one bit of each other line, which another seed chooses otherwise.
struct BitFlips: Sendable {
    static let line = 64

    private struct Line {
        var file: Int
        var start: Int
        /// Which bit alone; nil: all of them.
        var only: Int?
        /// How many bits come before it.
        var before: Int
    }

    private var lines: [Line] = []
    private(set) var count = 0
    private(set) var inUse = 0
    private(set) var zeroLines = 0
    /// No divisor in common with the number of bits.
    private var step = 1

    init(of image: FolderImage, seed: UInt64) {
        var random = SplitMix(state: seed)
        for (number, file) in image.files.enumerated() {
            guard let bytes = file.bytes else { continue }
            for start in stride(from: 0, to: bytes.count, by: Self.line) {
                let end = min(bytes.count, start + Self.line)
                let bits = (end - start) * 8
                if bytes[start..<end].allSatisfy({ $0 == 0 }) {
                    lines.append(Line(file: number, start: start, only: Int.random(in: 0..<bits, using: &random), before: count))
                    count += 1
                    zeroLines += 1
                } else {
                    lines.append(Line(file: number, start: start, only: nil, before: count))
                    count += bits
                    inUse += bits
                }
            }
        }
        guard count > 1 else { return }
        step = Int(random.next() % UInt64(count)) | 1
        while Self.divisor(step, count) != 1 { step += 2 }
    }

    /// The file, and the bit in it, that is flipped as the how-manieth.
    subscript(index: Int) -> (file: Int, bit: Int) {
        let number = Int(UInt64(index).multipliedFullWidth(by: UInt64(step)).low % UInt64(count))
        var low = 0, high = lines.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if lines[middle].before <= number { low = middle } else { high = middle }
        }
        let line = lines[low]
        return (line.file, line.start * 8 + (line.only ?? number - line.before))
    }

    private static func divisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : divisor(b, a % b) }
}
