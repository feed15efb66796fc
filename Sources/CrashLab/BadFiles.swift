internal import Glibc

/// Layer 7 of the lab: stores whose files somebody changed: bits flipped, pages zeroed, files cut short, removed, or taken from
/// another store or an earlier moment of the same one. What comes of it must be an error or intact data.
public enum BadFiles {
    static let layer = "bad-files"
    /// Before one in so many the store is looked at as it was.
    private static let soundEvery = 256

    public static func run(_ settings: LayerSettings) throws(LabError) -> LayerReport {
        guard let serve = settings.adapter.serve, let inspect = settings.adapter.inspect else {
            return .skipped(layer, because: "this adapter does not tell errors of the store's own from wrong bytes (no 'inspect')")
        }
        let root = try LabFile.resolved(settings.scratch)
        let stores = try DamagedStores(serve, settings.seed, root)
        var report = try LayerRun(layer, settings).perform { (run, number) throws(LabError) in
            let checker = CheckerProcess(inspect)
            let folder = ImageFolder("\(root)/damaged-\(number)")
            defer { folder.remove() }
            var count = 0
            while let index = run.next(below: stores.count) {
                guard let damage = stores[index] else { continue }
                // A checker that refuses everything notices nothing.
                if count % soundEvery == 0 {
                    try folder.hold(damage.store.image)
                    let finding = try checker.check(folder.path, seed: settings.seed, acknowledged: damage.store.acknowledged)
                    if let finding { throw LabError("the store is not sound without damage: \(finding)") }
                }
                count += 1
                try damage.hold(in: folder)
                run.saw(WordHash(UInt64(index)).value)
                run.acknowledged(damage.store.acknowledged.count)
                run.count(damage.kind)
                let finding = try checker.check(folder.path, seed: settings.seed, acknowledged: damage.store.acknowledged)
                guard let finding else {
                    run.count("\(damage.kind): intact")
                    continue
                }
                if finding.hasPrefix("refused") { continue }
                if finding.hasPrefix("ok ") {
                    run.count("\(damage.kind): intact, at an earlier version")
                    continue
                }
                checker.end()
                try run.fail(
                    seed: settings.seed, damage.description, "the files that were damaged", finding, acknowledged: damage.store.acknowledged, check: inspect,
                    folder: "bad-files-\(settings.seed)-\(index)"
                ) { (folder) throws(LabError) in try damage.write(to: folder) }
            }
        }
        report.notes.append("\(stores.bitCount) bits in the stores' files; all are flipped where the budget suffices")
        return report
    }
}

/// The stores that are damaged, and all that may be done to them.
struct DamagedStores: Sendable {
    struct Store: Sendable {
        var image: FolderImage
        var acknowledged: [String]
    }

    /// One thing done to one file of one store.
    struct Damage: CustomStringConvertible {
        enum Change {
            case flip(bit: Int)
            case zero(block: Int)
            case cut(size: Int)
            case remove
            case replace(by: [UInt8], from: String)
        }

        var store: Store
        var file: Int
        var change: Change

        var kind: String {
            switch change {
            case .flip: "bits flipped"
            case .zero: "pages zeroed"
            case .cut: "files cut short"
            case .remove: "files removed"
            case .replace: "files of another store or moment"
            }
        }

        var description: String {
            let path = store.image.files[file].path
            return switch change {
            case .flip(let bit): "\(path): bit \(bit % 8) of byte \(bit / 8) flipped"
            case .zero(let block): "\(path): page \(block) zeroed"
            case .cut(let size): "\(path): cut to \(size) bytes"
            case .remove: "\(path): removed"
            case .replace(_, let from): "\(path): replaced by that of \(from)"
            }
        }

        func hold(in folder: ImageFolder) throws(LabError) {
            try folder.hold(store.image, replacing: (store.image.files[file].path, bytes))
        }

        func write(to folder: String) throws(LabError) {
            try store.image.write(to: folder, replacing: (store.image.files[file].path, bytes))
        }

        /// What the file holds then; nil where it is gone.
        private var bytes: [UInt8]? {
            var bytes = store.image.files[file].bytes ?? []
            switch change {
            case .flip(let bit): bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            case .zero(let block):
                let range = block * Block.size..<min(bytes.count, (block + 1) * Block.size)
                bytes.replaceSubrange(range, with: repeatElement(0, count: range.count))
            case .cut(let size): bytes.removeLast(bytes.count - size)
            case .remove: return nil
            case .replace(let others, _): bytes = others
            }
            return bytes
        }
    }

    private var stores: [Store] = []
    /// What is done once each; then, and in turn with it, bits are flipped.
    private var once: [Damage] = []
    private var files: [FlippedFile] = []
    private(set) var bitCount = 0

    /// A file whose bits are flipped, each once, in an order without an order: the step has no divisor in common with their number.
    private struct FlippedFile {
        var store: Int
        var file: Int
        var bitCount: Int
        var step: Int
    }

    /// A store whose work ended, and one that was killed in the middle and recovered: with an earlier state of each, and another's.
    init(_ serve: [String], _ seed: UInt64, _ root: String) throws(LabError) {
        let runs = ChildRuns(serve, output: "\(root)/printed")
        let folder = "\(root)/sound"
        func work(_ seed: UInt64, killAfter microseconds: Int = 0) throws(LabError) -> Store {
            LabFile.remove(folder)
            try LabFile.makeFolder(folder)
            let outcome = try runs.run("work", folder, seed: seed, killAfter: microseconds)
            guard [.status(0), .signal(SIGKILL)].contains(outcome.end) else { throw LabError("the adapter's work \(outcome.end): \(outcome.errors)") }
            return Store(image: try FolderImage(of: folder), acknowledged: outcome.acknowledged)
        }
        defer { LabFile.remove(folder) }
        let other = try work(seed &+ 1)
        let begun = ContinuousClock.now
        let whole = try work(seed)
        let microseconds = Int((ContinuousClock.now - begun) / .microseconds(1))
        var killed = try work(seed, killAfter: microseconds * 6 / 10)
        // One that was killed before it was promised anything shows nothing.
        for tenths in 7..<10 where killed.acknowledged.isEmpty { killed = try work(seed, killAfter: microseconds * tenths / 10) }
        let recovery = try runs.run("recover", folder, seed: seed)
        let recovered = Store(image: try FolderImage(of: folder), acknowledged: killed.acknowledged + recovery.acknowledged)
        stores = [whole, recovered]
        var random = SplitMix(state: seed)
        for (index, store) in stores.enumerated() {
            for (number, file) in store.image.files.enumerated() {
                guard let bytes = file.bytes, !bytes.isEmpty else { continue }
                func add(_ change: Damage.Change) { once.append(Damage(store: store, file: number, change: change)) }
                add(.remove)
                add(.cut(size: 0))
                add(.cut(size: bytes.count - 1))
                for block in 0..<(bytes.count + Block.size - 1) / Block.size {
                    let part = bytes[block * Block.size..<min(bytes.count, (block + 1) * Block.size)]
                    if part.contains(where: { $0 != 0 }) { add(.zero(block: block)) }
                    if block > 0 { add(.cut(size: block * Block.size)) }
                }
                let earlier = index == 1 ? killed : nil
                for (name, others) in [("another store", other), ("an earlier moment", earlier)] {
                    let theirs = others?.image.files.first { $0.path == file.path }?.bytes
                    if let theirs, theirs != bytes { add(.replace(by: theirs, from: name)) }
                }
                let bits = bytes.count * 8
                var step = Int(random.next() % UInt64(bits)) | 1
                while Self.divisor(step, bits) != 1 { step += 2 }
                files.append(FlippedFile(store: index, file: number, bitCount: bits, step: step))
                bitCount += bits
            }
        }
        once.shuffle(using: &random)
    }

    private static func divisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : divisor(b, a % b) }

    var count: Int { 2 * once.count + files.count * (files.map(\.bitCount).max() ?? 0) }

    /// What is done as the how-manieth; nil: nothing. One of each kind in turn; flips go from file to file, so that small ones come soon.
    subscript(index: Int) -> Damage? {
        if index < 2 * once.count, index % 2 == 0 { return once[index / 2] }
        let number = index < 2 * once.count ? index / 2 : index - once.count
        let file = files[number % files.count], turn = number / files.count
        guard turn < file.bitCount else { return nil }
        let bit = Int(UInt64(turn).multipliedFullWidth(by: UInt64(file.step)).low % UInt64(file.bitCount))
        return Damage(store: stores[file.store], file: file.file, change: .flip(bit: bit))
    }
}
