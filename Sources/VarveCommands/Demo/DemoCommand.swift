internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import Varve

/// `varve demo`
struct DemoCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Show the main job on a real file, with a crash in the middle, and check all of it.",
        discussion: """
            Imports the file into a new store, maps it into a task, changes it by plain memory writes, commits, makes \
            a snapshot, kills a writing process in the middle of commits, opens the store again, compares, rolls back \
            and exports. Every state is checked byte by byte; exits with 2 where anything did not hold.

            Example:
              varve demo
              varve demo /usr/bin/dpkg --keep demo.varve
            """)

    /// Files of some megabytes, of which every Debian has one.
    private static let candidates = [
        "/usr/bin/perl", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/aarch64-linux-gnu/libc.so.6", "/bin/bash",
        "/usr/bin/dpkg",
    ]

    @Argument(help: "The file; one that is on every Debian where absent.", completion: .file())
    var file: String?
    @Option(help: ArgumentHelp("Make the store here and keep it.", valueName: "path"))
    var keep: String?
    @Option(help: ArgumentHelp("How many times a process is killed.", valueName: "number"))
    var kills = 3
    @Option(help: ArgumentHelp("What the writes and the moments of the kills are made from.", valueName: "number"))
    var seed: UInt64?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (0...1000).contains(kills) else { throw ValidationError("--kills needs a number between 0 and 1000.") }
    }

    func execute(_ console: Console) throws -> ExitStatus {
        guard let file = file ?? Self.candidates.first(where: { access($0, R_OK) == 0 }) else {
            throw StoreError(.notFound, "no file to show it with was found", advice: "Name one: varve demo FILE")
        }
        let folder = try DemoFolder()
        defer { folder.remove() }
        let seed = seed ?? UInt64.random(in: 1...UInt64(UInt32.max))
        let steps = DemoSteps(console: console, printsText: !output.json)
        if !output.json {
            try console.print("varve demo: \(Printable.text(file)), seed \(seed)\n")
        }
        let run = DemoRun(
            steps: steps, file: file, storePath: keep ?? folder.path + "/demo.varve",
            exportPath: folder.path + "/exported", executable: console.executable, kills: kills, seed: seed)
        var failure: (any Error)?
        let (_, seconds) = Times.measure {
            do { try run.perform() } catch { failure = error }
        }
        let held = steps.held && failure == nil
        try output.show(
            console,
            json: .object([
                ("file", .string(file)), ("seed", .unsigned(seed)), ("store", .optional(keep)), ("ok", .bool(held)),
                ("seconds", .seconds(seconds)), ("steps", .array(steps.records)),
            ]),
            text: (held ? "\nAll of it held, in " : "\nNOT all of it held, in ") + Times.duration(seconds) + "."
                + (keep.map { " The store is \(Printable.text($0))." } ?? ""))
        // What was done until then is told in either case.
        if let failure { throw failure }
        return held ? .success : .failure
    }
}

/// A folder of the demo's own.
struct DemoFolder {
    let path: String

    init() throws(StoreError) {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/varve-demo-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw .system(
                "no temporary folder could be made", path: parent, errno: errno,
                advice: "Set TMPDIR to a folder that can be written to")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Removes it with all that it holds.
    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// The steps of a demo as they happen: each has a name, a result in words and figures, and holds or not.
final class DemoSteps {
    private let console: Console
    private let printsText: Bool
    private(set) var records: [JSON] = []
    /// Whether every step so far held.
    private(set) var held = true

    /// What a step found.
    struct Result {
        var holds = true
        var text: String
        var figures: [(String, JSON)] = []
        /// The time that the step is about, where that is not all of it.
        var seconds: Double?
    }

    init(console: Console, printsText: Bool) {
        self.console = console
        self.printsText = printsText
    }

    /// Performs a step and tells about it.
    func step(_ name: String, _ body: () throws -> Result) throws {
        var failure: (any Error)?
        let (result, elapsed) = Times.measure { () -> Result in
            do { return try body() } catch {
                failure = error
                return Result(holds: false, text: "\(error)")
            }
        }
        let seconds = result.seconds ?? elapsed
        held = held && result.holds
        records.append(
            .object(
                [
                    ("step", .string(name)), ("ok", .bool(result.holds)), ("seconds", .seconds(seconds)),
                    ("text", .string(result.text)),
                ] + result.figures))
        if printsText { try show(name, result, seconds) }
        if let failure { throw failure }
    }

    private func show(_ name: String, _ result: Result, _ seconds: Double) throws {
        let time = Times.duration(seconds)
        let padding = String(repeating: " ", count: max(0, 9 - time.count))
        let label = name + String(repeating: " ", count: max(0, 9 - name.count))
        try console.print("\(result.holds ? "ok  " : "FAIL") \(padding)\(time)  \(label) \(Printable.text(result.text))")
    }
}
