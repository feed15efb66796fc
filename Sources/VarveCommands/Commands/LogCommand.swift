internal import ArgumentParser
internal import Varve

/// `varve log`
struct LogCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "List a store's commits, newest first.",
        discussion: """
            A version marked * is kept: it can be read, compared, cloned and gone back to.

            Example:
              varve log photos.varve --limit 10
            """)

    @OptionGroup var store: StoreArgument
    @Option(help: ArgumentHelp("How many at most.", valueName: "number"))
    var limit: Int?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit needs a number above 0.") }
    }

    func execute(_ console: Console) throws -> ExitStatus {
        let entries = try store.open { try $0.log(limit: limit) }
        try output.show(
            console, json: json(entries), text: entries.isEmpty ? "No commits yet." : table(entries).text)
        return .success
    }

    private func table(_ entries: [Store.LogEntry]) -> Table {
        var table = Table(("VERSION", .right), ("", .left), ("TIME", .left), ("PAGES", .right), ("SNAPSHOTS", .left), ("WHAT", .left))
        for entry in entries {
            let what = entry.message.isEmpty ? entry.changes.joined(separator: ", ") : entry.message
            table.add(
                "\(entry.version)", entry.isRetained ? "*" : "", Times.local(seconds: entry.time), "\(entry.pages)",
                entry.snapshots.joined(separator: ", "), what)
        }
        return table
    }

    private func json(_ entries: [Store.LogEntry]) -> JSON {
        let rows = entries.map { entry -> JSON in
            .object([
                ("version", .unsigned(entry.version.rawValue)), ("time", .string(Times.iso8601(seconds: entry.time))),
                ("message", .string(entry.message)), ("pages", .integer(entry.pages)),
                ("changes", .array(entry.changes.map { .string($0) })),
                ("snapshots", .array(entry.snapshots.map { .string($0) })), ("retained", .bool(entry.isRetained)),
            ])
        }
        return .object([("store", .string(store.path)), ("commits", .array(rows))])
    }
}
