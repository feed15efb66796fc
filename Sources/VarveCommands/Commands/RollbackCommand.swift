internal import ArgumentParser
internal import Varve

/// `varve rollback`
struct RollbackCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Go back to a snapshot or a version.",
        discussion: """
            It makes a new version with the old contents. What it takes away stays in the log's versions as long as \
            these are kept: make a snapshot first to keep it longer.

            Example:
              varve rollback photos.varve before --dry-run
              varve rollback photos.varve before --object index --yes
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The snapshot or version.")
    var state: String
    @Option(help: "This object only; the whole store where absent.")
    var object: String?
    @OptionGroup var message: MessageOption
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let target = StateText.parse(state)
        let (from, changes, version) = try store.openToWrite { store -> (Version, [Store.Difference], Version?) in
            let from = try store.version(of: target)
            let changes = try store.diff(.head, target, object: object)
            if confirmation.dryRun { return (from, changes, nil) }
            let what = object.map { "object \($0)" } ?? "the whole store"
            try confirmation.confirm(
                console, "Roll \(what) back to \(state) (version \(from)), changing \(changes.count) object(s)?")
            return (from, changes, try store.rollback(to: target, object: object, message: message.message))
        }
        let report = DifferenceReport(changes)
        let list = changes.isEmpty ? "No object differs." : report.text
        try output.show(
            console,
            json: .object([
                ("state", .string(state)), ("from_version", .unsigned(from.rawValue)),
                ("object", .optional(object)), ("dry_run", .bool(confirmation.dryRun)), ("changes", report.json),
                ("version", version.map { .unsigned($0.rawValue) } ?? .null),
            ]),
            text: version.map { "Rolled back to \(Printable.text(state)) (version \(from)); it is version \($0) now.\n\(list)" }
                ?? "Would roll back to \(Printable.text(state)) (version \(from)). Nothing was changed.\n\(list)")
        return .success
    }
}
