import ArgumentParser
import Foundation
import Varve

/// `varve-bench space`: what random page writes cost in bytes written, and what they leave on the disk.
struct SpaceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "space",
        abstract: "Write random pages of ten times a heap's size; count the bytes written and the space taken.")

    @Flag(help: "Print lines of JSON instead of a table.")
    var json = false

    @Flag(help: "A heap of 64 MiB instead of 256.")
    var quick = false

    @Option(name: .customLong("only-k"), help: "The pages that a commit changes.")
    var pages = 256

    @Option(help: "How many times the heap's size is written.")
    var times = 10

    @Flag(inversion: .prefixedNo, help: "Also run with another process that reads the state before the writes throughout.")
    var reader = true

    @Option(help: "Where the store is made, in a fresh folder; by default TMPDIR or /var/tmp.")
    var dir: String?

    @Option(help: "The seed of the pages' choice and contents.")
    var seed: UInt64 = 1

    func run() throws {
        let parent = dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        let machine = Machine(volume: try Volume(of: parent))
        let workspace = try Workspace(under: parent)
        defer { workspace.close() }
        let report = SpaceReport(json: json)
        report.begin(machine)
        for isRead in reader ? [false, true] : [false] {
            let run = SpaceRun(pageCount: quick ? 1 << 14 : 1 << 16, pagesACommit: pages, times: times, seed: seed)
            report.print(
                try run.measure(in: workspace, name: isRead ? "reader" : "alone", isRead: isRead, StandardError.progress))
            StandardError.progress("")
        }
    }
}

/// Random page writes to one heap, commit by commit.
struct SpaceRun {
    let pageCount: Int
    let pagesACommit: Int
    let times: Int
    let seed: UInt64

    func measure(in workspace: Workspace, name: String, isRead: Bool, _ progress: (String) -> Void) throws -> SpaceFigures {
        let path = "\(workspace.path)/\(name)"
        let bytes = UInt64(pageCount * Page.size)
        try Store.create(path)
        let store = try Store.open(path)
        let object = try store.createObject(named: "object", size: bytes, residency: .exclusive)
        let task = try store.task(named: "bench")
        let address = try task.map(size: bytes, object: object)
        var generator = RandomPages(seed: seed, count: pageCount)
        for page in 0..<pageCount { generator.write(page, task.pointer(address)) }
        try store.commit()
        let child = isRead ? try PinningChild(workspace, store: path) : nil
        defer { child?.end() }

        var figures = SpaceFigures(name: name, heapBytes: Int(bytes), k: pagesACommit)
        let before = (all: try WrittenBytes.process(), mine: try WrittenBytes.thread())
        let commits = pageCount * times / pagesACommit
        for commit in 0..<commits {
            var chosen: Set<Int> = []
            while chosen.count < pagesACommit {
                let page = generator.nextPage()
                guard chosen.insert(page).inserted else { continue }
                generator.write(page, task.pointer(address))
                task.touch(address: address + UInt64(page * Page.size), size: UInt64(Page.size))
            }
            figures.seconds.add(try timed { try store.commit(declaredOnly: true) }.seconds)
            // What is sampled is what stays after a while; the first round fills the space that may be dead.
            if commit % max(1, commits / 400) == 0 {
                progress("\(name): \(commit * 100 / commits) %")
                figures.add(try store.statistics(), isSteady: commit * times > commits * 2)
            }
        }
        figures.committedBytes = commits * pagesACommit * Page.size
        figures.journalBytes = try WrittenBytes.thread() - before.mine
        figures.writtenBytes = try WrittenBytes.process() - before.all
        figures.youngBytes = Int(try store.journalUse().used)
        try store.close()
        return figures
    }
}

/// Bytes that were given to write calls.
enum WrittenBytes {
    static func process() throws -> Int { try read("/proc/self/io") }
    static func thread() throws -> Int { try read("/proc/thread-self/io") }

    private static func read(_ path: String) throws -> Int {
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        guard let line = lines.first(where: { $0.hasPrefix("wchar:") }), let bytes = Int(line.dropFirst(7)) else {
            throw BenchError("\(path) does not tell the bytes written")
        }
        return bytes
    }
}

/// Another process that maps the object's present state until it is ended.
struct PinningChild {
    private let workspace: Workspace
    private let child: Child

    init(_ workspace: Workspace, store: String) throws {
        guard let executable = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            throw BenchError("this executable's path is not known")
        }
        let errors = workspace.path + "/errors"
        child = try Child(executable: executable, arguments: ["pin-child", store], errorsTo: errors)
        self.workspace = workspace
        workspace.adopt(child.pid)
        var reader = LineReader(descriptor: child.output)
        guard try reader.next(withinSeconds: 120) != nil else {
            end()
            throw BenchError("the reader failed: \((try? String(contentsOfFile: errors, encoding: .utf8)) ?? "")")
        }
    }

    func end() {
        close(child.input)
        close(child.output)
        workspace.end(child.pid)
    }
}

/// `varve-bench pin-child STORE`: maps the object's head for reading, says so, and waits for the end of its input.
struct PinChildCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "pin-child", abstract: "", shouldDisplay: false)

    @Argument var path: String

    func run() throws {
        var options = Store.OpenOptions()
        options.access = .read
        let store = try Store.open(path, options: options)
        let state = try store.mapState(Store.ObjectReference(name: "object"))
        print("pinned")
        fflush(nil)
        while readLine() != nil {}
        withExtendedLifetime(state) {}
        try store.close()
    }
}
