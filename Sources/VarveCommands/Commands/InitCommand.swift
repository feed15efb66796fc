internal import ArgumentParser
internal import Varve

/// `varve init`
struct InitCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make a new, empty store.",
        discussion: """
            The store is a folder that must not be there yet. Its ring takes the youngest commits; a larger one lets \
            more of them wait for their place in the page store.

            Example:
              varve init photos.varve
              varve init photos.varve --ring 256M
            """)

    @OptionGroup var store: StoreArgument
    @Option(help: ArgumentHelp("Size of the journal's ring.", valueName: "size"), transform: ByteSize.parse)
    var ring: UInt64?
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        var options = Store.CreateOptions()
        if let ring {
            guard ring <= UInt64(Int32.max) * UInt64(Page.size) else {
                throw CommandFailure.usage(
                    message: "a ring of \(ByteSize.text(ring)) is too large", advice: "Give at most 8T; 64M is usual")
            }
            options.ringBytes = Int(ring)
        }
        try Store.create(store.path, options: options)
        let (uuid, ringBytes) = try store.open { ($0.uuid, try $0.statistics().journalBytes) }
        try output.show(
            console,
            json: .object([
                ("store", .string(store.path)), ("uuid", .string(uuid)), ("ring", .unsigned(UInt64(ringBytes))),
            ]),
            text: "Made store \(Printable.text(store.path)), with a ring of \(ByteSize.text(UInt64(ringBytes))).")
        return .success
    }
}
