import Foundation
import TestSupport

/// The checkout.
let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

/// The folder that holds the library, built beside the tests.
let buildFolder: String? = {
    let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
    let candidates = [folder] + CommandLine.arguments.map { ($0 as NSString).deletingLastPathComponent }
    return candidates.first { FileManager.default.fileExists(atPath: $0 + "/libCVarve.so") }
}()

/// Where a program is on the PATH.
func program(_ name: String) -> String? {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(name)" }
        .first { FileManager.default.isExecutableFile(atPath: $0) }
}

let compiler = program("cc")
let python = program("python3")

struct Outcome {
    var code: Int32
    /// Standard output and errors.
    var text: String
}

/// Runs a program to its end; what it prints goes to a file, so that no pipe fills.
func run(_ executable: String, _ arguments: [String], environment: [String: String] = [:]) throws -> Outcome {
    let folder = TemporaryFolder("varve-output")
    let path = folder.path + "/output"
    _ = FileManager.default.createFile(atPath: path, contents: nil)
    let output = FileHandle(forWritingAtPath: path)!
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = output
    process.environment = ProcessInfo.processInfo.environment
        .merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }.merging(environment) { $1 }
    try process.run()
    process.waitUntilExit()
    let text = String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    return Outcome(code: process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus, text: text)
}

/// The lines of a text without what indents them, without empty ones.
func trimmed(_ text: String) -> [String] {
    text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
}

/// README.md's block of a language that has a word in it.
func readmeBlock(_ language: String, with word: String) throws -> String? {
    let readme = try String(contentsOfFile: root + "/README.md", encoding: .utf8)
    return readme.components(separatedBy: "```\(language)\n").dropFirst()
        .compactMap { $0.components(separatedBy: "```").first }.first { $0.contains(word) }
}
