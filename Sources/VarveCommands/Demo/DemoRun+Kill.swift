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
        var generator = Mixer(state: seed &+ UInt64(round))
        let roundSeed = generator.next()
        let wanted = 3 + Int(generator.next() % 30)
        let acknowledged = try kill(executable, roundSeed, after: wanted, wait: UInt32(generator.next() % 5000))

        let (store, seconds) = try Times.measure { try Store.open(storePath) }
        do {
            try steps.step("recover") {
                let recovered = RecoveredState(
                    store: store, before: before, pattern: DemoPattern(seed: roundSeed, size: pattern.size))
                let task = try DemoTask.attach(store, object: Self.object)
                let found = try recovered.commit(among: [acknowledged.commit, acknowledged.commit + 1], at: task.base)
                let version = try store.version(of: .head)
                let holds = found != nil && version >= acknowledged.version
                let contents =
                    switch found {
                    case acknowledged.commit: "exactly the last acknowledged commit"
                    case .some: "exactly the commit in flight"
                    case nil: "NEITHER the last acknowledged commit nor the one in flight"
                    }
                return .init(
                    holds: holds,
                    text: "SIGKILL after \(acknowledged.commit) commits; opened again: \(contents), version \(version), "
                        + "\(pattern.pageCount) pages checked at \(hexadecimal(task.address))",
                    figures: [
                        ("acknowledged", .integer(acknowledged.commit)), ("found", found.map { .integer($0) } ?? .null),
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

    /// The last commit that the killed process said was done.
    private func kill(_ executable: String, _ seed: UInt64, after wanted: Int, wait: UInt32) throws
        -> (commit: Int, version: Version)
    {
        let child = try ChildProcess(executable, ["demo-child", "--", storePath, Self.object, "\(seed)"])
        var last: (commit: Int, version: Version)?
        func take(_ line: String) {
            let numbers = line.split(separator: " ").compactMap { UInt64($0) }
            if numbers.count == 2 { last = (Int(numbers[0]), Version(numbers[1])) }
        }
        while (last?.commit ?? 0) < wanted, let line = try child.line(within: 60) { take(line) }
        usleep(wait)
        child.kill()
        while let line = try child.line(within: 60) { take(line) }
        guard let last, child.wait() == .signal(SIGKILL) else {
            throw StoreError(
                .io, "the writing process ended by itself: \(child.wait())", advice: "Its message is above", path: storePath)
        }
        return last
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
