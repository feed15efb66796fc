internal import CrashLab
internal import Glibc
internal import Varve

extension DemoRun {
    /// Lets a process of its own commit, kills it at a moment that nobody chose, opens the store again and checks that
    /// it holds exactly the last acknowledged commit or the one in flight.
    func killAndRecover(_ round: Int, before: String, _ pattern: DemoPattern) throws -> Store {
        guard let executable else {
            throw StoreError(
                .unsupported, "this program can't start itself to be killed", advice: "Run it as `varve demo`, or with --kills 0")
        }
        var generator = SplitMix(state: seed &+ UInt64(round))
        let roundSeed = generator.next()
        let wanted = 3 + Int(generator.next() % 30)
        let acknowledged = try kill(executable, roundSeed, after: wanted, &generator)

        let (store, seconds) = try Times.measure { try Store.open(storePath) }
        do {
            try steps.step("recover") {
                let recovered = RecoveredState(
                    store: store, before: before, pattern: DemoPattern(seed: roundSeed, size: pattern.size))
                let task = try DemoTask.attach(store, object: Self.object)
                let found = try recovered.commit(among: [acknowledged.commit, acknowledged.commit + 1], at: task.base)
                let version = try store.version(of: .head)
                let holds = found != nil && version >= acknowledged.version
                let moment = acknowledged.isCommitting ? "during commit \(acknowledged.commit + 1)" : "after commit \(acknowledged.commit)"
                let contents =
                    switch found {
                    case acknowledged.commit: "exactly the last acknowledged commit"
                    case .some: "exactly the commit in flight"
                    case nil: "NEITHER the last acknowledged commit nor the one in flight"
                    }
                return .init(
                    holds: holds,
                    text: "SIGKILL \(moment); opened again: \(contents), version \(version), "
                        + "\(pattern.pageCount) pages checked at \(hexadecimal(task.address))",
                    figures: [
                        ("acknowledged", .integer(acknowledged.commit)), ("during_commit", .bool(acknowledged.isCommitting)),
                        ("found", found.map { .integer($0) } ?? .null),
                        ("version", .unsigned(version.rawValue)), ("pages", .integer(pattern.pageCount)),
                        ("records", .integer(store.recovery.records)), ("rewritten", .integer(store.recovery.rewritten)),
                        ("clean", .bool(store.recovery.wasClean)),
                    ], seconds: seconds)
            }
        } catch {
            try? store.close()
            throw error
        }
        return store
    }

    /// Starts a process that commits and kills it within a commit, so far as the host's scheduling lets it.
    private func kill(_ executable: String, _ seed: UInt64, after wanted: Int, _ generator: inout SplitMix) throws -> KilledWriter {
        let child = try ChildProcess(executable, ["demo-child", "--", storePath, Self.object, "\(seed)"])
        var told = KilledWriter()
        var begun = ContinuousClock.now
        var usual = Duration.milliseconds(1)
        while let line = try child.line(within: 60) {
            told.hear(line)
            if !told.isCommitting {
                usual = ContinuousClock.now - begun
                continue
            }
            begun = .now
            guard told.commit >= wanted else { continue }
            // Anywhere from a commit's first step to shortly after its last.
            let share = Double(generator.next() % 1000) / 1000
            let moment = begun + usual * share
            while ContinuousClock.now < moment {}
            break
        }
        child.kill()
        while let line = try child.line(within: 60) { told.hear(line) }
        let end = child.wait()
        guard told.commit > 0, end == .signal(SIGKILL) else {
            throw StoreError(
                .io, "the writing process ended by itself (\(end))", advice: "Its message is above", path: storePath)
        }
        return told
    }
}

/// What a process said before it was killed.
struct KilledWriter {
    /// The last commit that it acknowledged, and its version.
    private(set) var commit = 0
    private(set) var version = Version.zero
    /// Whether it had begun another.
    private(set) var isCommitting = false

    mutating func hear(_ line: String) {
        let words = line.split(separator: " ")
        isCommitting = words.first == "begin"
        guard words.count == 3, words[0] == "done", let number = Int(words[1]), let made = UInt64(words[2]) else { return }
        commit = number
        version = Version(made)
    }
}

/// What a store holds after a kill, against what the pattern says that each commit makes of the state before.
struct RecoveredState {
    let store: Store
    let before: String
    let pattern: DemoPattern

    /// The one of `candidates` whose contents the memory at `base` is, page by page; nil where it is none.
    func commit(among candidates: [Int], at base: UnsafeMutableRawPointer) throws -> Int? {
        try candidates.first { try isCommit($0, at: base) }
    }

    private func isCommit(_ commit: Int, at base: UnsafeMutableRawPointer) throws -> Bool {
        var writer: [Int: Int] = [:]
        for earlier in stride(from: 1, through: commit, by: 1) {
            for page in pattern.pages(of: earlier) { writer[page] = earlier }
        }
        let expected = UnsafeMutableRawBufferPointer.allocate(byteCount: Page.size, alignment: Page.size)
        defer { expected.deallocate() }
        let reader = StateReader(store, object: DemoRun.object, size: pattern.size)
        return try reader.pages(of: .snapshot(before)) { page, bytes in
            expected.copyMemory(from: bytes)
            if let commit = writer[page] { pattern.fill(page, commit: commit, at: expected.baseAddress!) }
            return memcmp(expected.baseAddress!, base + page * Page.size, pattern.length(of: page)) == 0
        }
    }
}
