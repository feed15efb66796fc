import Foundation

/// What an engine answers to `run K N`.
struct Batch: Decodable {
    let latencies: [UInt64]
    let bytesWritten: UInt64

    enum CodingKeys: String, CodingKey {
        case latencies = "latencies_ns"
        case bytesWritten = "bytes_written"
    }
}

/// One engine in its child process: stopped, its background threads too, whenever it is not its turn.
final class EngineProcess {
    static let answerLimitSeconds = 600

    let name: String
    private let child: Child
    private var lines: LineReader
    private let errorsPath: String
    private let workspace: Workspace

    /// Starts the engine in a folder of its own, the first of its arguments, and returns when it is ready.
    init(_ launch: EngineLaunch, in workspace: Workspace, arguments: [String]) throws {
        name = launch.name
        self.workspace = workspace
        let directory = try workspace.makeFolder(launch.name)
        errorsPath = "\(workspace.path)/\(launch.name).errors"
        child = try Child(executable: launch.executable, arguments: launch.arguments + [directory] + arguments, errorsTo: errorsPath)
        workspace.adopt(child.pid)
        lines = LineReader(descriptor: child.output)
        do {
            let answer = try nextLine()
            guard answer == Data("ready".utf8) else { throw unexpected(answer) }
        } catch {
            end()
            throw error
        }
        kill(child.pid, SIGSTOP)
    }

    /// Has the engine do `commits` commits of `pages` pages each, chosen so.
    func run(pages: Int, commits: Int, choice: PageChoice) throws -> Batch {
        let batch: Batch = try ask("run \(pages) \(commits) \(choice.rawValue)")
        guard batch.latencies.count == commits else { throw BenchError("\(batch.latencies.count) commits instead of \(commits)") }
        return batch
    }

    /// Has the engine do what a line says, and waits for its answer.
    func ask<Answer: Decodable>(_ request: String) throws -> Answer {
        kill(child.pid, SIGCONT)
        defer { kill(child.pid, SIGSTOP) }
        try send(request + "\n")
        let answer = try nextLine()
        guard let decoded = try? JSONDecoder().decode(Answer.self, from: answer) else { throw unexpected(answer) }
        return decoded
    }

    /// Ends the child process and removes what it stored.
    func end() {
        close(child.input)
        close(child.output)
        workspace.end(child.pid)
        workspace.removeFolder(name)
    }

    private func send(_ line: String) throws {
        let bytes = Array(line.utf8)
        guard write(child.input, bytes, bytes.count) == bytes.count else { throw ended() }
    }

    private func nextLine() throws -> Data {
        guard let line = try lines.next(withinSeconds: Self.answerLimitSeconds) else { throw ended() }
        return line
    }

    private func unexpected(_ line: Data) -> BenchError {
        BenchError("unexpected answer: \(String(decoding: line.prefix(200), as: UTF8.self))")
    }

    private func ended() -> BenchError {
        let errors = (try? String(contentsOfFile: errorsPath, encoding: .utf8)) ?? ""
        let text = errors.trimmingCharacters(in: .whitespacesAndNewlines)
        return BenchError(text.isEmpty ? "its process ended" : text)
    }
}
