import ArgumentParser
import Foundation
import Varve

/// Runs this executable once more for each opening, so that nothing of the process is warm.
struct OpenChild {
    let workspace: Workspace
    let store: String

    /// One opening of the closed or killed store, which is closed again.
    func open() throws -> OpenSample {
        let line = try run("measure", seed: 0) { reader in try reader.next(withinSeconds: 120) }
        guard let line else { throw BenchError("the child that opens the store failed: \(errors)") }
        return try JSONDecoder().decode(OpenSample.self, from: line)
    }

    /// A writer that fills the ring as far as it can and is killed between two commits.
    func killWhileCommitting(seed: UInt64) throws {
        let line = try run("fill", seed: seed) { reader in try reader.next(withinSeconds: 120) }
        guard line != nil else { throw BenchError("the child that fills the ring failed: \(errors)") }
    }

    private var errors: String {
        (try? String(contentsOfFile: workspace.path + "/errors", encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines) ?? ""
    }

    private func run<Result>(_ what: String, seed: UInt64, _ body: (inout LineReader) throws -> Result) throws -> Result {
        guard let executable = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            throw BenchError("this executable's path is not known")
        }
        let child = try Child(
            executable: executable, arguments: ["open-child", what, store, "\(seed)"], errorsTo: workspace.path + "/errors")
        workspace.adopt(child.pid)
        defer {
            close(child.input)
            close(child.output)
            workspace.end(child.pid)
        }
        var reader = LineReader(descriptor: child.output)
        let result = try body(&reader)
        if what == "measure" { _ = try reader.next(withinSeconds: 120) }
        return result
    }
}

/// `varve-bench open-child measure|fill STORE SEED`.
struct OpenChildCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "open-child", abstract: "", shouldDisplay: false)

    @Argument var what: String
    @Argument var path: String
    @Argument var seed: UInt64

    func run() throws {
        if what == "fill" { try fill() } else { try measure() }
    }

    private func measure() throws {
        var sample = OpenSample()
        let (store, open) = try timed { try Store.open(path) }
        let (task, attach) = try timed { try store.task(named: "bench") }
        let address = task.entries.first?.start ?? 0
        let (word, first) = timed { task.pointer(address).load(as: UInt64.self) }
        guard word == AgedObject.mark else { throw BenchError("the first byte is not what was written") }
        sample.open = open
        sample.attach = attach
        sample.firstByte = first
        sample.whole = open + attach + first
        sample.records = store.recovery.records
        sample.rewritten = store.recovery.rewritten
        for (part, seconds) in store.openingTimes {
            switch part {
            case .pageStore: sample.pageStore = seconds
            case .catalog: sample.catalog = seconds
            case .pageTables: sample.table = seconds
            }
        }
        let data = try JSONEncoder().encode(sample)
        print(String(decoding: data, as: UTF8.self))
        fflush(nil)
        try store.close()
    }

    /// Commits until the ring is nearly full, tells, and waits for its end.
    private func fill() throws {
        let store = try Store.open(path)
        let task = try store.task(named: "bench")
        guard let entry = task.entries.first else { throw BenchError("the task has no region") }
        let base = task.pointer(entry.start)
        var pages = RandomPages(seed: seed, count: Int(entry.length) / 4096)
        // Settling drains the ring beside the commits: stop at the fullest moment that a while of committing shows.
        var fullest: UInt64 = 0
        let deadline = ContinuousClock.now + .seconds(3)
        while ContinuousClock.now < deadline {
            for _ in 0..<256 { pages.write(pages.nextPage(), base) }
            try store.commit()
            let figures = try store.journalUse()
            fullest = max(fullest, figures.used)
            if figures.used > figures.size * 4 / 5 { break }
        }
        print("filled")
        fflush(nil)
        kill(getpid(), SIGKILL)
    }
}
