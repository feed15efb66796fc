internal import ArgumentParser
internal import Varve

/// `varve snapshot`
struct SnapshotCommand: CommandHolder {
    static let configuration = CommandConfiguration(
        commandName: "snapshot",
        abstract: "Name versions, so that they are kept.",
        discussion: """
            Example:
              varve snapshot create photos.varve before
              varve snapshot list photos.varve
            """,
        subcommands: [
            SnapshotCreateCommand.self, SnapshotListCommand.self, SnapshotShowCommand.self, SnapshotDeleteCommand.self,
            SnapshotRenameCommand.self,
        ])
}

/// `varve snapshot create`
struct SnapshotCreateCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Name the last commit.",
        discussion: """
            It costs one small record. Where another process writes to the store, that one is asked to do it.

            Example:
              varve snapshot create photos.varve before -m "before the move"
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The snapshot's name.")
    var name: String
    @Option(help: "Of this object only; of the whole store where absent.")
    var object: String?
    @OptionGroup var message: MessageOption
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        try StateText.requireSnapshotName(name)
        let (snapshot, names) = try store.open { store in
            let made = try store.createSnapshot(name, object: object, message: message.message)
            // What was made through another process carries only its version: the store knows the rest.
            return (try store.snapshots().first { $0.name == name } ?? made, try store.objectNames())
        }
        try output.show(
            console, json: snapshot.json(names),
            text: "Made snapshot \(Printable.text(name)) of version \(snapshot.version).")
        return .success
    }
}

/// `varve snapshot list`
struct SnapshotListCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the snapshots.",
        discussion: """
            Example:
              varve snapshot list photos.varve
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (snapshots, names) = try store.open { (try $0.snapshots(), try $0.objectNames()) }
        var table = Table(("NAME", .left), ("VERSION", .right), ("OF", .left), ("TIME", .left), ("MESSAGE", .left))
        for snapshot in snapshots {
            table.add(
                snapshot.name, "\(snapshot.version)", snapshot.subject(names),
                Times.local(seconds: Times.seconds(nanoseconds: snapshot.time)), snapshot.message)
        }
        try output.show(
            console,
            json: .object([("store", .string(store.path)), ("snapshots", .array(snapshots.map { $0.json(names) }))]),
            text: snapshots.isEmpty ? "No snapshots." : table.text)
        return .success
    }
}

/// `varve snapshot show`
struct SnapshotShowCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show one snapshot, and what has changed since.",
        discussion: """
            Example:
              varve snapshot show photos.varve before
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The snapshot.")
    var name: String
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (snapshot, names, changes) = try store.open { store in
            let snapshot = try store.snapshot(named: name)
            let names = try store.objectNames()
            let object = snapshot.object.map { names[$0] ?? "\($0)" }
            return (snapshot, names, try store.diff(.snapshot(name), .head, object: object))
        }
        var facts = Facts()
        facts.add("Snapshot", snapshot.name)
        facts.add("Of", snapshot.subject(names))
        facts.add("Version", "\(snapshot.version)")
        facts.add("Time", Times.local(seconds: Times.seconds(nanoseconds: snapshot.time)))
        if !snapshot.message.isEmpty { facts.add("Message", snapshot.message) }
        let since = changes.isEmpty ? "Nothing has changed since." : "Changed since:\n" + DifferenceReport(changes).text
        try output.show(
            console,
            json: .object([("snapshot", snapshot.json(names)), ("changes_since", DifferenceReport(changes).json)]),
            text: facts.text + "\n" + since)
        return .success
    }
}

/// `varve snapshot delete`
struct SnapshotDeleteCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Forget a snapshot.",
        discussion: """
            Its version goes with it, unless something else keeps it; `varve reclaim` frees the space.

            Example:
              varve snapshot delete photos.varve before --dry-run
              varve snapshot delete photos.varve before --yes
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The snapshot.")
    var name: String
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (snapshot, names) = try store.open { store in
            let snapshot = try store.snapshot(named: name)
            let names = try store.objectNames()
            if !confirmation.dryRun {
                try confirmation.confirm(console, "Delete snapshot \(name) of version \(snapshot.version)?")
                try store.deleteSnapshot(name)
            }
            return (snapshot, names)
        }
        let subject = "snapshot \(Printable.text(name)) of version \(snapshot.version)"
        try output.show(
            console,
            json: .object([("snapshot", snapshot.json(names)), ("dry_run", .bool(confirmation.dryRun))]),
            text: confirmation.dryRun ? "Would delete \(subject). Nothing was changed." : "Deleted \(subject).")
        return .success
    }
}

/// `varve snapshot rename`
struct SnapshotRenameCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "rename",
        abstract: "Give a snapshot another name.",
        discussion: """
            Example:
              varve snapshot rename photos.varve before before-the-move
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The snapshot.")
    var name: String
    @Argument(help: "Its new name.")
    var newName: String
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        try StateText.requireSnapshotName(newName)
        try store.open { try $0.renameSnapshot(name, to: newName) }
        try output.show(
            console, json: .object([("name_before", .string(name)), ("name", .string(newName))]),
            text: "Renamed snapshot \(Printable.text(name)) to \(Printable.text(newName)).")
        return .success
    }
}

extension Store {
    /// The snapshot of that name; `.notFound` where there is none.
    func snapshot(named name: String) throws(StoreError) -> SnapshotInfo {
        if let found = try snapshots().first(where: { $0.name == name }) { return found }
        throw StoreError(
            .notFound, "no snapshot is named '\(name)'", advice: "`varve snapshot list` names them", path: path)
    }

    /// The names of the objects that are there now.
    func objectNames() throws(StoreError) -> [ObjectID: String] {
        Dictionary(try objects().map { ($0.id, $0.name) }, uniquingKeysWith: { first, _ in first })
    }
}

extension SnapshotInfo {
    /// What it is a snapshot of, in words.
    func subject(_ names: [ObjectID: String]) -> String {
        guard let object else { return "the whole store" }
        return names[object] ?? "\(object)"
    }

    func json(_ names: [ObjectID: String]) -> JSON {
        .object([
            ("name", .string(name)), ("version", .unsigned(version.rawValue)),
            ("object", .optional(object.map { names[$0] ?? "\($0)" })),
            ("time", .string(Times.iso8601(seconds: Times.seconds(nanoseconds: time)))), ("message", .string(message)),
        ])
    }
}
