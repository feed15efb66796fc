internal import ArgumentParser
internal import Varve

/// `varve demo-child`: commits without end, for `varve demo` to kill.
struct DemoChildCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "demo-child",
        abstract: "Commit without end; `varve demo` runs and kills this.",
        discussion: """
            Prints `begin NUMBER` before each commit and `done NUMBER VERSION` when it is acknowledged.

            Example:
              varve demo-child demo.varve file 7 | head
            """,
        shouldDisplay: false)

    @OptionGroup var store: StoreArgument
    @Argument(help: "An object that the task `demo` maps.")
    var object: String
    @Argument(help: "What the contents are made from.")
    var seed: UInt64
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        try store.openToWrite { store in
            let pattern = DemoPattern(seed: seed, size: Int(try store.size(of: StateText.head(of: object))))
            let base = try DemoTask.attach(store, object: object).base
            // More than anybody waits for; the end by a signal or a closed pipe comes earlier.
            for commit in 1...1_000_000 {
                for page in pattern.pages(of: commit) { pattern.fill(page, commit: commit, at: base + page * Page.size) }
                try console.print("begin \(commit)")
                let version = try store.commit()
                try console.print("done \(commit) \(version)")
            }
        }
        return .success
    }
}

/// The demo's task, whose one region is the demo's object.
struct DemoTask {
    static let name = "demo"
    let address: UInt64
    let base: UnsafeMutableRawPointer

    /// Attaches the task; its region is mapped again where it was.
    static func attach(_ store: Store, object: String) throws -> DemoTask {
        let task = try store.task(named: name)
        guard let id = try store.objects().first(where: { $0.name == object })?.id,
            let entry = task.entries.first(where: { $0.backing == .object(id, offset: 0) })
        else {
            throw StoreError(
                .notFound, "task '\(name)' does not map object '\(object)'", advice: "Run `varve demo`, which makes both",
                path: store.path)
        }
        return DemoTask(address: entry.start, base: task.pointer(entry.start))
    }
}
