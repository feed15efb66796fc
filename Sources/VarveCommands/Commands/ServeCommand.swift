internal import ArgumentParser
internal import Glibc
internal import Varve

/// `varve serve`
struct ServeCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Hold a store open, so that other processes can map and change its objects together.",
        discussion: """
            Runs until SIGTERM or SIGINT, then closes the store. What attached processes changed and nobody committed is \
            lost then, as in a crash: they commit themselves.

            Example:
              varve serve photos.varve
            """)

    @OptionGroup var store: StoreArgument
    @Flag(help: "Admit the members of the folder's group, for reading only.")
    var groupReads = false
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        // Blocked before any thread is made, so that all of them leave the signals to us.
        var signals = sigset_t()
        var before = sigset_t()
        sigemptyset(&signals)
        for number in [SIGTERM, SIGINT] { sigaddset(&signals, number) }
        pthread_sigmask(SIG_BLOCK, &signals, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        return try store.openToWrite { opened in
            if groupReads { try opened.serve(.groupReads) }
            let objects = try opened.objects().filter { !$0.name.isEmpty && $0.residency == .shared }
            try output.show(
                console,
                json: .object([
                    ("store", .string(store.path)), ("process", .integer(Int(getpid()))), ("group_reads", .bool(groupReads)),
                    (
                        "objects",
                        .array(objects.map { .object([("name", .string($0.name)), ("size", .unsigned($0.size))]) })
                    ),
                ]),
                text: """
                    Serving \(Printable.text(store.path)) as process \(getpid()) to \
                    \(groupReads ? "its user, and its group for reading" : "its user"): \
                    \(objects.isEmpty ? "no objects yet" : objects.map { Printable.text($0.name) }.joined(separator: ", ")).
                    """)
            var number: Int32 = 0
            while sigwait(&signals, &number) != 0 {}
            return .success
        }
    }
}
