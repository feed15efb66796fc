import ArgumentParser
import Foundation
import Synchronization
import Varve

/// `varve-bench threads`: how many one-page commits a second one thread makes, and several together.
struct ThreadsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "threads", abstract: "Count the synced one-page commits that 1, 2, 4 and 8 threads make, beside a file each.")

    @Flag(help: "Print lines of JSON instead of a table.")
    var json = false

    @Flag(help: "Half a second for each instead of three.")
    var quick = false

    @Option(help: "Where the store is made, in a fresh folder; by default TMPDIR or /var/tmp.")
    var dir: String?

    private struct Row: Encodable {
        let threads: Int
        let engine: String
        let commitsPerSecond: Double
        let ratioToOneThread: Double
    }

    func run() throws {
        let parent = dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        let machine = Machine(volume: try Volume(of: parent))
        let workspace = try Workspace(under: parent)
        defer { workspace.close() }
        if json { JSONLine.print(machine) } else { print("threads     varve, commits/s  × one      varve-declared, /s  × one  pwrite + fdatasync, /s  × one") }
        let most = 8, pagesEach = 1024
        try Store.create(workspace.path + "/store")
        let store = try Store.open(workspace.path + "/store")
        let task = try store.task(named: "bench")
        let size = UInt64(most * pagesEach * Page.size)
        let base = try task.map(size: size, object: try store.createObject(named: "object", size: size, residency: .exclusive))
        for page in 0..<most * pagesEach { task.pointer(base + UInt64(page * Page.size)).storeBytes(of: page, as: Int.self) }
        try store.commit()
        let files = try (0..<most).map { index in
            let file = open(workspace.path + "/file\(index)", O_RDWR | O_CREAT, 0o600)
            let zeros = [UInt8](repeating: 0, count: pagesEach * Page.size)
            guard file >= 0, pwrite(file, zeros, zeros.count, 0) == zeros.count, fsync(file) == 0 else {
                throw BenchError("cannot make a file: \(String(cString: strerror(errno)))")
            }
            return file
        }
        defer { for file in files { Foundation.close(file) } }
        var first: [String: Double] = [:]
        for threads in [1, 2, 4, 8] {
            var rates: [(engine: String, rate: Double)] = []
            for declares in [false, true] {
                rates.append((declares ? "varve-declared" : "varve", try count(threads) { thread, step in
                    let address = base + UInt64((thread * pagesEach + step % pagesEach) * Page.size)
                    task.pointer(address).storeBytes(of: step, as: Int.self)
                    // After the store: another thread's commit may come in between.
                    if declares { task.touch(address: address, size: UInt64(Page.size)) }
                    try store.commit(declaredOnly: declares)
                }))
            }
            rates.append(("pwrite", try count(threads) { thread, step in
                guard pwrite(files[thread], task.pointer(base), Page.size, off_t(step % pagesEach * Page.size)) == Page.size,
                    fdatasync(files[thread]) == 0
                else { throw BenchError("a write failed: \(String(cString: strerror(errno)))") }
            }))
            for rate in rates where first[rate.engine] == nil { first[rate.engine] = rate.rate }
            let ratios = rates.map { $0.rate / (first[$0.engine] ?? 1) }
            if json {
                for (rate, ratio) in zip(rates, ratios) {
                    JSONLine.print(Row(threads: threads, engine: rate.engine, commitsPerSecond: rate.rate, ratioToOneThread: ratio))
                }
            } else {
                let cells = zip(rates, ratios).map { String(format: "%20.0f %6.2f", $0.rate, $1) }
                print(String(format: "%7d ", threads) + cells.joined(separator: " "))
            }
        }
        try store.close()
    }

    /// What the threads of a run did.
    private final class Outcome: Sendable {
        let total = Mutex(0)
        let failure = Mutex<(any Error)?>(nil)
    }

    /// Steps a second, of all threads together.
    private func count(_ threads: Int, _ step: @escaping @Sendable (Int, Int) throws -> Void) throws -> Double {
        let seconds = quick ? 0.5 : 3.0
        let outcome = Outcome()
        let start = ContinuousClock.now
        // Threads of their own: a queue would run as many at once as there are processors.
        let group = DispatchGroup()
        for thread in 0..<threads {
            group.enter()
            Thread.detachNewThread {
                defer { group.leave() }
                var done = 0
                do {
                    while ContinuousClock.now - start < .seconds(seconds) {
                        try step(thread, done)
                        done += 1
                    }
                } catch { outcome.failure.withLock { $0 = error } }
                outcome.total.withLock { $0 += done }
            }
        }
        group.wait()
        if let error = outcome.failure.withLock({ $0 }) { throw error }
        return Double(outcome.total.withLock { $0 }) / ((ContinuousClock.now - start) / .seconds(1))
    }
}
