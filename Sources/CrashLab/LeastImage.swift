internal import Glibc

/// A failure of the enumerator with fewer pending writes, and fewer acknowledgements, of which the checker still says the same, but for
/// numbers.
struct LeastImage {
    private(set) var image: CrashImage
    private(set) var acknowledged: [String]
    private(set) var finding: String

    private let folder: String
    private let seed: UInt64
    private let checker: CheckerProcess

    /// `image` is one of `point`'s, and `finding` what was said of it; `folder` is made, and removed again.
    init(
        _ image: CrashImage, of point: CrashPoint, acknowledged: [String], finding: String, seed: UInt64, check: [String], folder: String
    ) throws(LabError) {
        self.image = image
        self.acknowledged = acknowledged
        self.finding = finding
        self.folder = folder
        self.seed = seed
        checker = CheckerProcess(check)
        defer { LabFile.remove(folder) }
        let end = Least.patience
        guard let choice = image.choice else { return }
        let there = choice.writes.indices.filter { choice.writes[$0] > 0 }
        _ = try Least.of(there, until: end) { (fewer) throws(LabError) in
            var less = choice
            for index in there where !fewer.contains(index) { less.writes[index] = 0 }
            return try self.take(point.image(less), self.acknowledged)
        }
        if let choice = self.image.choice {
            _ = try Least.number(below: choice.names, until: end) { (names) throws(LabError) in
                var less = choice
                less.names = names
                return try self.take(point.image(less), self.acknowledged)
            }
        }
        let all = self.acknowledged
        _ = try Least.number(below: all.count, until: end) { (count) throws(LabError) in try self.take(self.image, Array(all.prefix(count))) }
        if acknowledged.count > self.acknowledged.count {
            self.image.description += "; \(self.acknowledged.count) of \(acknowledged.count) acknowledgements are enough"
        }
    }

    /// Whether the same is found; then it is kept.
    private mutating func take(_ image: CrashImage, _ acknowledged: [String]) throws(LabError) -> Bool {
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        try image.write(to: folder)
        let found = try checker.check(folder, seed: seed, acknowledged: acknowledged)
        guard let found else { return false }
        // What it held open of a bad image must not spoil the next one.
        checker.end()
        guard Least.kind(of: found) == Least.kind(of: finding) else { return false }
        (self.image, finding, self.acknowledged) = (image, found, acknowledged)
        return true
    }
}
