internal import ArgumentParser
internal import Varve

/// `varve backup`
struct BackupCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy a store, also one that is in use.",
        discussion: """
            The copy is a store like any other: it holds every kept version and snapshot.

            Example:
              varve backup photos.varve /mnt/backup/photos.varve
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The copy's folder, which must not be there yet.", completion: .directory)
    var destination: String
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (version, seconds) = try store.open { store in
            try Times.measure {
                try store.backup(to: destination)
                return try store.version(of: .head)
            }
        }
        try output.show(
            console,
            json: .object([
                ("store", .string(store.path)), ("backup", .string(destination)),
                ("version", .unsigned(version.rawValue)), ("seconds", .seconds(seconds)),
            ]),
            text: "Copied \(Printable.text(store.path)) to \(Printable.text(destination)) in \(Times.duration(seconds)).")
        return .success
    }
}
