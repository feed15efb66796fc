import Foundation
import TestSupport
import Testing

@testable import VarveCommands

/// What a command line left behind.
struct Outcome {
    var code: Int32
    var output: Data
    var errors: String

    var text: String { String(decoding: output, as: UTF8.self) }

    /// The output as a JSON object.
    func json(sourceLocation: SourceLocation = #_sourceLocation) throws -> [String: Any] {
        try #require(
            try JSONSerialization.jsonObject(with: output) as? [String: Any], "no JSON object: \(text)",
            sourceLocation: sourceLocation)
    }

    /// The error that was printed as JSON.
    func jsonError(sourceLocation: SourceLocation = #_sourceLocation) throws -> [String: Any] {
        let value = try JSONSerialization.jsonObject(with: Data(errors.utf8)) as? [String: Any]
        return try #require(value?["error"] as? [String: Any], "no JSON error: \(errors)", sourceLocation: sourceLocation)
    }
}

/// Runs a command line in this process.
func run(_ arguments: [String], input: Data = Data(), asksPeople: Bool = false, executable: String? = nil) -> Outcome {
    let folder = TemporaryFolder("varve-console")
    func descriptor(_ name: String, _ contents: Data = Data()) -> Int32 {
        let path = folder.path + "/" + name
        _ = FileManager.default.createFile(atPath: path, contents: contents)
        return open(path, O_RDWR | O_CLOEXEC)
    }
    let (stdin, stdout, stderr) = (descriptor("in", input), descriptor("out"), descriptor("err"))
    defer { for file in [stdin, stdout, stderr] { close(file) } }
    let console = Console(input: stdin, output: stdout, errors: stderr, asksPeople: asksPeople, executable: executable)
    let code = VarveCommandLine.run(arguments, console: console)
    func contents(_ name: String) -> Data { FileManager.default.contents(atPath: folder.path + "/" + name) ?? Data() }
    return Outcome(code: code, output: contents("out"), errors: String(decoding: contents("err"), as: UTF8.self))
}

/// A store of a test's own.
final class TestStore {
    let folder = TemporaryFolder("varve-commands")
    let path: String

    init() {
        path = folder.path + "/store.varve"
        #expect(run(["init", path, "--ring", "4M"]).code == 0)
    }

    /// Runs a command whose first argument, or second in a group, is the store.
    func callAsFunction(_ command: String, _ arguments: String..., input: Data = Data(), asksPeople: Bool = false) -> Outcome {
        run(command.split(separator: " ").map(String.init) + [path] + arguments, input: input, asksPeople: asksPeople)
    }

    /// A path beside the store.
    func beside(_ name: String) -> String { folder.path + "/" + name }

    /// A file beside the store.
    func file(_ name: String, _ contents: Data) -> String {
        _ = FileManager.default.createFile(atPath: beside(name), contents: contents)
        return beside(name)
    }
}

/// Bytes that no compression or deduplication makes less of.
func randomBytes(_ count: Int, seed: UInt64 = 1) -> Data {
    var generator = SeededGenerator(seed: seed)
    var data = Data(capacity: count)
    while data.count < count { withUnsafeBytes(of: generator.next()) { data.append(contentsOf: $0) } }
    return data.prefix(count)
}

/// The program itself, built beside the tests; nil where it is not there.
let builtProgram: String? = {
    let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    let candidates = [folder.path] + CommandLine.arguments.map { ($0 as NSString).deletingLastPathComponent }
    return candidates.map { $0 + "/varve" }.first { FileManager.default.isExecutableFile(atPath: $0) }
}()

/// A running program with pipes.
final class RunningProgram {
    let process = Process()
    let input = Pipe()
    let output = Pipe()
    let errors = Pipe()

    init(_ executable: String, _ arguments: [String]) throws {
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        process.standardError = errors
        try process.run()
    }

    deinit { if process.isRunning { process.terminate() } }

    /// Closes its input and waits for its end.
    func finish() throws -> Outcome {
        try input.fileHandleForWriting.close()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        let complaints = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(code: process.terminationStatus, output: text, errors: String(decoding: complaints, as: UTF8.self))
    }
}
