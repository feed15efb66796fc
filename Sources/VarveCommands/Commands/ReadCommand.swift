internal import ArgumentParser
internal import Varve

/// `varve read`
struct ReadCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "read",
        abstract: "Print an object's bytes.",
        discussion: """
            The bytes go to standard output as they are; --json concerns errors only.

            Example:
              varve read photos.varve services@before --offset 4K --length 512 | hexdump -C
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "OBJECT, OBJECT@SNAPSHOT or OBJECT@VERSION.")
    var object: String
    @Option(help: ArgumentHelp("The first byte.", valueName: "size"), transform: ByteSize.parse)
    var offset: UInt64 = 0
    @Option(help: ArgumentHelp("How many bytes at most; all that follow where absent.", valueName: "size"), transform: ByteSize.parse)
    var length: UInt64?
    @OptionGroup var output: OutputOptions

    private static let chunk = 1 << 20

    func execute(_ console: Console) throws -> ExitStatus {
        var reference = StateText.parseReference(object)
        try store.open { store in
            let size = try store.size(of: reference)
            guard offset <= size else {
                throw StoreError(
                    .invalid, "offset \(offset) lies beyond the \(size) bytes of \(object)",
                    advice: "Give an offset of at most \(size)", path: store.path)
            }
            // A writer may commit meanwhile: all bytes come from one version.
            if reference.state == .head { reference.state = .version(try store.version(of: .head)) }
            let end = offset + min(length ?? .max, size - offset)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunk, alignment: Page.size)
            defer { buffer.deallocate() }
            var position = offset
            while position < end {
                let wanted = Int(min(UInt64(Self.chunk), end - position))
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
                let count = try store.read(reference, offset: position, into: part)
                guard count > 0 else { break }
                try console.write(UnsafeRawBufferPointer(rebasing: part[..<count]))
                position += UInt64(count)
            }
        }
        return .success
    }
}
