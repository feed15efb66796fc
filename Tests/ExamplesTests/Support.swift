import Foundation
import TestSupport

/// The checkout.
let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

/// The folder that holds what was built.
let buildFolder: String? = {
    let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
    let candidates = [folder] + CommandLine.arguments.map { ($0 as NSString).deletingLastPathComponent }
    return candidates.first { FileManager.default.fileExists(atPath: $0 + "/varve-examples") }
}()

/// Where a program is on the PATH.
func program(_ name: String) -> String? {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(name)" }
        .first { FileManager.default.isExecutableFile(atPath: $0) }
}

struct Outcome {
    /// The exit code; of a signal, its negative number.
    var code: Int32
    /// Standard output and errors.
    var text: String
}

/// A program that runs; what it prints goes to a file, so that no pipe fills.
final class Running {
    private let process = Process()
    private let folder = TemporaryFolder("varve-output")

    init(_ executable: String, _ arguments: [String], environment: [String: String] = [:], in place: String? = nil) throws {
        _ = FileManager.default.createFile(atPath: folder.path + "/output", contents: nil)
        let output = FileHandle(forWritingAtPath: folder.path + "/output")!
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        if let place { process.currentDirectoryURL = URL(fileURLWithPath: place) }
        process.environment = ProcessInfo.processInfo.environment
            .merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }.merging(environment) { $1 }
        try process.run()
    }

    var text: String { String(decoding: FileManager.default.contents(atPath: folder.path + "/output") ?? Data(), as: UTF8.self) }
    var isRunning: Bool { process.isRunning }

    func kill() { Foundation.kill(process.processIdentifier, SIGKILL) }

    func finish() -> Outcome {
        process.waitUntilExit()
        return Outcome(
            code: process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus, text: text)
    }
}

func run(
    _ executable: String, _ arguments: [String], environment: [String: String] = [:], in place: String? = nil
) throws -> Outcome {
    try Running(executable, arguments, environment: environment, in: place).finish()
}

/// Runs one of the examples in Swift.
func example(_ arguments: String...) throws -> Outcome { try run((buildFolder ?? "") + "/varve-examples", arguments) }

/// Texts to index: those that every Debian has, else the checkout's own.
let corpus: [String] = {
    let files = FileManager.default
    let licenses = "/usr/share/common-licenses"
    let found = (try? files.contentsOfDirectory(atPath: licenses)) ?? []
    let texts = found.sorted().map { licenses + "/" + $0 }.filter { path in
        // Links lead to texts that are there under their own names.
        (try? files.destinationOfSymbolicLink(atPath: path)) == nil && (try? String(contentsOfFile: path, encoding: .utf8)) != nil
    }
    return texts.isEmpty ? ["README.md", "docs/ARCHITECTURE.md", "docs/FORMAT.md"].map { root + "/" + $0 } : Array(texts.prefix(6))
}()
