internal import ArgumentParser
internal import Glibc
internal import Varve

/// `varve import`
struct ImportCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Make an object of a file.",
        discussion: """
            Holes stay holes. A file that changes while it is read is refused.

            Example:
              varve import photos.varve /etc/services --name services
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The file.", completion: .file())
    var file: String
    @Option(help: "The object's name; the file's own where absent.")
    var name: String?
    @OptionGroup var message: MessageOption
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let name = name ?? file.split(separator: "/").last.map(String.init) ?? file
        let report = try store.openToWrite { try $0.importFile(file, named: name, message: message.message) }
        try output.show(
            console,
            json: .object([
                ("file", .string(file)), ("name", .string(name)), ("id", .unsigned(report.object.id.rawValue)),
                ("size", .unsigned(report.bytes)), ("data_pages", .integer(report.dataPages)),
                ("version", .unsigned(report.version.rawValue)), ("seconds", .seconds(report.seconds)),
            ]),
            text: """
                Imported \(Printable.text(file)) as \(Printable.text(name)): \(ByteSize.text(report.bytes)), \
                \(report.dataPages) pages of data, version \(report.version), in \(Times.duration(report.seconds)).
                """)
        return .success
    }
}

/// `varve export`
struct ExportCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write an object's state to a file.",
        discussion: """
            The file is there whole or not at all: it is written beside its place, flushed and renamed. One that is \
            there already is replaced once that was agreed to, or not at all with --no-clobber.

            Example:
              varve export photos.varve services@before /tmp/services
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "OBJECT, OBJECT@SNAPSHOT or OBJECT@VERSION.")
    var object: String
    @Argument(help: "The file.", completion: .file())
    var file: String
    @Flag(help: "Fail where the file is there already.")
    var noClobber = false
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let reference = StateText.parseReference(object)
        if confirmation.dryRun { return try showPlan(reference, console) }
        let report = try store.open { store in
            let replaces = !noClobber && access(file, F_OK) == 0
            if replaces { try confirmation.confirm(console, "Replace the file \(file)?") }
            // What has appeared meanwhile nobody was asked about.
            return try store.export(reference, to: file, overwrite: replaces)
        }
        try output.show(
            console,
            json: .object([
                ("name", .string(reference.name)), ("version", .unsigned(report.version.rawValue)),
                ("file", .string(file)), ("size", .unsigned(report.bytes)), ("seconds", .seconds(report.seconds)),
            ]),
            text: """
                Exported \(Printable.text(reference.name)) at version \(report.version) to \(Printable.text(file)): \
                \(ByteSize.text(report.bytes)) in \(Times.duration(report.seconds)).
                """)
        return .success
    }

    private func showPlan(_ reference: Store.ObjectReference, _ console: Console) throws -> ExitStatus {
        let (version, size) = try store.open { (try $0.version(of: reference.state), try $0.size(of: reference)) }
        let isThere = access(file, F_OK) == 0
        try output.show(
            console,
            json: .object([
                ("name", .string(reference.name)), ("version", .unsigned(version.rawValue)), ("file", .string(file)),
                ("size", .unsigned(size)), ("replaces", .bool(isThere)), ("dry_run", .bool(true)),
            ]),
            text: """
                Would export \(Printable.text(reference.name)) at version \(version), \(ByteSize.text(size)), to \(Printable.text(file))\
                \(isThere ? ", which is there and would be replaced" : ""). Nothing was changed.
                """)
        return .success
    }
}

/// `varve clone`
struct CloneCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "clone",
        abstract: "Make a new object that holds what another does, or did.",
        discussion: """
            It costs one small record; neither object sees the other's later writes.

            Example:
              varve clone photos.varve index@before index-of-then
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "OBJECT, OBJECT@SNAPSHOT or OBJECT@VERSION.")
    var object: String
    @Argument(help: "The new object's name.")
    var newName: String
    @OptionGroup var message: MessageOption
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let reference = StateText.parseReference(object)
        let info = try store.openToWrite { try $0.clone(reference, as: newName, message: message.message) }
        try output.show(
            console, json: info.json,
            text: "Cloned \(Printable.text(object)) as \(Printable.text(info.name)): \(ByteSize.text(info.size)), version \(info.born).")
        return .success
    }
}
