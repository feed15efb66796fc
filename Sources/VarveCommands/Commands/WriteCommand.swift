internal import ArgumentParser
internal import Varve

/// `varve write`
struct WriteCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "write",
        abstract: "Write standard input into an object.",
        discussion: """
            All of the input becomes one commit, or nothing does. It does not grow the object: see `varve resize`.

            Example:
              varve write photos.varve index --offset 4K -m "new header" < header.bin
              printf hello | varve write photos.varve index --offset 0
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The object.")
    var object: String
    @Option(help: ArgumentHelp("Where the first byte goes.", valueName: "size"), transform: ByteSize.parse)
    var offset: UInt64
    @OptionGroup var message: MessageOption
    @OptionGroup var output: OutputOptions

    private static let chunk = 1 << 20

    func execute(_ console: Console) throws -> ExitStatus {
        let (result, seconds) = try store.openToWrite { store in
            try Times.measure {
                try store.write(
                    object, offset: offset,
                    from: { () throws(StoreError) in try console.read(limit: Self.chunk) }, message: message.message)
            }
        }
        try output.show(
            console,
            json: .object([
                ("name", .string(object)), ("offset", .unsigned(offset)), ("bytes", .unsigned(result.bytes)),
                ("version", .unsigned(result.version.rawValue)), ("seconds", .seconds(seconds)),
            ]),
            text: """
                Wrote \(ByteSize.text(result.bytes)) into \(Printable.text(object)) at \(offset), \
                version \(result.version), in \(Times.duration(seconds)).
                """)
        return .success
    }
}
