internal import ArgumentParser
internal import Varve

/// Where a command line says how an object's pages live while mapped.
enum ResidencyArgument: String, ExpressibleByArgument, CaseIterable {
    case shared, exclusive

    var residency: Residency { self == .shared ? .shared : .exclusive }
}

/// `varve create`
struct CreateCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make an object that reads as zeros.",
        discussion: """
            Zeros take no space, whatever the size.

            Example:
              varve create photos.varve index --size 64M
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The new object's name.")
    var object: String
    @Option(help: ArgumentHelp("Its size: bytes, or a number with K, M, G or T.", valueName: "size"), transform: ByteSize.parse)
    var size: UInt64
    @Option(help: "How its pages live while mapped: shared or exclusive.")
    var residency = ResidencyArgument.shared
    @OptionGroup var message: MessageOption
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let info = try store.openToWrite { store in
            try store.createObject(
                named: object, size: size, residency: residency.residency, message: message.message)
        }
        try output.show(
            console, json: info.json,
            text: "Made object \(Printable.text(info.name)) of \(ByteSize.text(info.size)), version \(info.born).")
        return .success
    }
}

/// `varve resize`
struct ResizeCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "resize",
        abstract: "Give an object another size.",
        discussion: """
            What a larger size adds reads as zeros; what a smaller one cuts off stays in earlier versions as long as \
            these are kept, and is asked about.

            Example:
              varve resize photos.varve index --size 128M
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The object.")
    var object: String
    @Option(help: ArgumentHelp("Its new size: bytes, or a number with K, M, G or T.", valueName: "size"), transform: ByteSize.parse)
    var size: UInt64
    @OptionGroup var message: MessageOption
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (before, version) = try store.openToWrite { store -> (UInt64, Version?) in
            let before = try store.size(of: StateText.head(of: object))
            if confirmation.dryRun { return (before, nil) }
            if size < before { try confirmation.confirm(console, "Cut \(ByteSize.text(before - size)) off the end of object \(object)?") }
            return (before, try store.resizeObject(object, to: size, message: message.message))
        }
        let subject = "\(Printable.text(object)) from \(ByteSize.text(before)) to \(ByteSize.text(size))"
        try output.show(
            console,
            json: .object([
                ("name", .string(object)), ("size_before", .unsigned(before)), ("size", .unsigned(size)),
                ("dry_run", .bool(confirmation.dryRun)), ("version", version.map { .unsigned($0.rawValue) } ?? .null),
            ]),
            text: version.map { "Resized \(subject), version \($0)." } ?? "Would resize \(subject). Nothing was changed.")
        return .success
    }
}

/// `varve rename`
struct RenameCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "rename",
        abstract: "Give an object another name.",
        discussion: """
            Past versions keep the name it had then.

            Example:
              varve rename photos.varve index catalogue
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The object.")
    var object: String
    @Argument(help: "Its new name.")
    var newName: String
    @OptionGroup var message: MessageOption
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let version = try store.openToWrite { store in
            try store.renameObject(object, to: newName, message: message.message)
        }
        try output.show(
            console,
            json: .object([
                ("name_before", .string(object)), ("name", .string(newName)), ("version", .unsigned(version.rawValue)),
            ]),
            text: "Renamed \(Printable.text(object)) to \(Printable.text(newName)), version \(version).")
        return .success
    }
}

/// `varve rm`
struct RemoveCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove an object.",
        discussion: """
            Versions and snapshots that are kept still hold it; `varve clone` brings it back from one of them. An object that a
            task maps is not removed, unless its regions are to go with it (--unmap). `varve maps` lists them.

            Example:
              varve rm photos.varve index --dry-run
              varve rm photos.varve index --yes
              varve rm photos.varve heap --unmap --yes
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The object.")
    var object: String
    @Flag(help: "Take the regions that show the object out of all tasks, too.")
    var unmap = false
    @OptionGroup var message: MessageOption
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (size, version) = try store.openToWrite { store -> (UInt64, Version?) in
            let size = try store.size(of: StateText.head(of: object))
            if confirmation.dryRun { return (size, nil) }
            try confirmation.confirm(console, "Remove object \(object) of \(ByteSize.text(size))?")
            return (size, try store.deleteObject(object, unmapping: unmap, message: message.message))
        }
        let name = Printable.text(object)
        try output.show(
            console,
            json: .object([
                ("name", .string(object)), ("size", .unsigned(size)), ("dry_run", .bool(confirmation.dryRun)),
                ("version", version.map { .unsigned($0.rawValue) } ?? .null),
            ]),
            text: version.map { "Removed \(name) of \(ByteSize.text(size)), version \($0)." }
                ?? "Would remove \(name) of \(ByteSize.text(size)). Nothing was changed.")
        return .success
    }
}

extension ObjectInfo {
    var json: JSON {
        .object([
            ("name", .string(name)), ("id", .unsigned(id.rawValue)), ("size", .unsigned(size)),
            ("residency", .string(residency.label)), ("version", .unsigned(born.rawValue)),
        ])
    }
}
