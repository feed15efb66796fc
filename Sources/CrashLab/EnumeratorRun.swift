internal import Synchronization

/// The checking of one recording by several threads, each with a checker of its own.
final class EnumeratorRun: Sendable {
    private struct Shared {
        var next = 0
        var seen: Set<UInt64> = []
        var report = Enumerator.Report()
        var error: LabError?
        /// Kinds of findings of which one was made smaller.
        var known: Set<String> = []
    }

    /// Images of one recovery: its moments are looked at in any order, so that many recoveries are begun.
    private static let mostAfterRecovery = 100

    private let lab: Enumerator
    private let recording: UncheckedBox<Recording>
    private let order: [Int]
    private let seed: UInt64
    private let limit: Int
    private let root: String
    private let shared = Mutex(Shared())

    /// A value that nobody changes any more.
    private struct UncheckedBox<Value>: @unchecked Sendable { let value: Value }

    init(_ lab: Enumerator, _ recording: Recording, seed: UInt64, limit: Int, root: String) {
        self.lab = lab
        self.recording = UncheckedBox(value: recording)
        self.seed = seed
        self.limit = limit
        self.root = root
        // Where not all can be looked at, those that are lie anywhere.
        var random = SplitMix(state: seed)
        order = limit == .max ? Array(recording.moments.indices) : recording.moments.indices.shuffled(using: &random)
    }

    func perform() throws(LabError) -> Enumerator.Report {
        try LabThreads.run(lab.checkers) { (number) throws(LabError) in self.checkMoments(number) }
        let result = shared.withLock { ($0.report, $0.error) }
        if let error = result.1 { throw error }
        return result.0
    }

    private func nextMoment() -> Recording.Moment? {
        shared.withLock { shared in
            guard shared.next < order.count, shared.error == nil, shared.report.distinct < limit,
                shared.report.failures.count < lab.mostFailures
            else { return nil }
            defer { shared.next += 1 }
            shared.report.moments += 1
            return recording.value.moments[order[shared.next]]
        }
    }

    private func checkMoments(_ number: Int) {
        let checker = CheckerProcess(lab.adapter.check)
        let folder = ImageFolder("\(root)/image-\(seed)-\(number)")
        defer { folder.remove() }
        do throws(LabError) {
            while let moment = nextMoment() {
                let acknowledged = Array(recording.value.acknowledged.prefix(moment.acknowledged))
                _ = try check(moment, acknowledged, after: "", CrashPoint.Limits(), .max, number, folder, checker)
            }
        } catch { shared.withLock { $0.error = $0.error ?? error } }
    }

    /// Checks what a cut at a moment may leave, no more than `most` images; `after` says what went before it, where that is a
    /// recovery's. Answers how many there were.
    private func check(
        _ moment: Recording.Moment, _ acknowledged: [String], after: String, _ limits: CrashPoint.Limits, _ most: Int, _ number: Int,
        _ folder: ImageFolder, _ checker: CheckerProcess
    ) throws(LabError) -> Int {
        var checked = 0
        var random = SplitMix(state: seed &+ UInt64(moment.event))
        try moment.point.forEach(limits, &random) { (image) throws(LabError) in
            var identity = WordHash(image.hash)
            identity.add(UInt64(acknowledged.count))
            // The last line may be what a recovery said.
            if let last = acknowledged.last { identity.add(WordHash(last).value) }
            let value = identity.value
            let count = shared.withLock { shared -> Int? in
                shared.report.images += 1
                guard shared.report.distinct < limit, shared.seen.insert(value).inserted else { return nil }
                shared.report.distinct += 1
                return shared.report.distinct
            }
            guard let count else { return shared.withLock { $0.report.distinct < limit } }
            try look(image, moment, acknowledged, after, value, folder, checker)
            checked += 1
            if after.isEmpty, lab.recoveryEvery > 0, count % lab.recoveryEvery == 0 {
                // After a cut, what is left is on the disk; after a kill, the kernel still has what may never get there.
                let isKill = count / lab.recoveryEvery % 2 == 0
                let found = isKill ? moment.disk.current : image
                let disk = isKill ? moment.disk.afterKill : SimulatedDisk(image)
                try recover(found, disk, moment, acknowledged, number, folder, checker)
            }
            return checked < most && shared.withLock { $0.error == nil && $0.report.failures.count < lab.mostFailures }
        }
        return checked
    }

    private func look(
        _ image: CrashImage, _ moment: Recording.Moment, _ acknowledged: [String], _ after: String, _ value: UInt64,
        _ folder: ImageFolder, _ checker: CheckerProcess
    ) throws(LabError) {
        try folder.hold(image)
        guard let finding = try checker.check(folder.path, seed: seed, acknowledged: acknowledged) else { return }
        // What a checker held open when it met a bad image must not be found wrong with the next one; and one that has seen many
        // images is not to be believed alone.
        checker.end()
        folder.remove()
        try LabFile.makeFolder(folder.path)
        try image.write(to: folder.path)
        let again = try CheckerProcess(lab.adapter.check).check(folder.path, seed: seed, acknowledged: acknowledged)
        let failure = Failure(
            seed: seed, moment: "\(after)cut \(moment.event)", image: image.description,
            finding: again ?? "\(finding) (a fresh checker did not find that)",
            folder: "\(lab.failures)/\(seed)-\(moment.event)-\(String(value, radix: 16))")
        let least = try keep(failure, image, of: moment.point, acknowledged, isSure: again != nil)
        shared.withLock { $0.report.failures.append(least) }
    }

    /// Keeps a failure; the first of its kind with as little as it needs.
    private func keep(
        _ found: Failure, _ image: CrashImage, of point: CrashPoint, _ acknowledged: [String], isSure: Bool
    ) throws(LabError) -> Failure {
        var failure = found, image = image, acknowledged = acknowledged
        if isSure, shared.withLock({ $0.known.insert(Least.kind(of: found.finding)).inserted }) {
            let least = try LeastImage(
                image, of: point, acknowledged: acknowledged, finding: found.finding, seed: seed, check: lab.adapter.check,
                folder: "\(root)/least-\(WordHash(found.folder).value)")
            (image, acknowledged) = (least.image, least.acknowledged)
            (failure.image, failure.finding) = (image.description, least.finding)
        }
        try failure.keep(acknowledged: acknowledged, check: lab.adapter.check) { (folder) throws(LabError) in try image.write(to: folder) }
        return failure
    }

    /// Traces the recovery from what a cut or a kill left on `disk`, and checks what a cut may leave of that.
    private func recover(
        _ image: CrashImage, _ disk: SimulatedDisk, _ moment: Recording.Moment, _ acknowledged: [String], _ number: Int,
        _ images: ImageFolder, _ checker: CheckerProcess
    ) throws(LabError) {
        let folder = "\(root)/recovery-\(seed)-\(number)"
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        defer { LabFile.remove(folder) }
        try image.write(to: folder)
        let recovery = try Recording(
            lab.adapter.recover + [folder], in: folder, on: disk, recorder: lab.recorder, lying: lab.lying,
            trace: "\(folder).trace")
        shared.withLock { $0.report.recoveries += 1 }
        var random = SplitMix(state: seed &+ UInt64(moment.event))
        var left = Self.mostAfterRecovery
        for second in recovery.moments.shuffled(using: &random) where left > 0 {
            let all = acknowledged + recovery.acknowledged.prefix(second.acknowledged)
            left -= try check(
                second, all, after: "at \(moment.event) \(image.description), recovered, ", .few, left, number, images, checker)
        }
    }
}
