internal import ArgumentParser
internal import Varve

/// `varve leases`
struct LeasesCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "leases",
        abstract: "Show who uses the store: its writer, and who pins which version.",
        discussion: """
            Example:
              varve leases photos.varve
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (writer, leases, names) = try store.open { store in
            // This process holds the lock only for the moment of asking.
            (store.isWriter ? nil : try store.writerProcess(), try store.leases(), try store.objectNames())
        }
        var table = Table(("PROCESS", .right), ("OBJECT", .left), ("VERSION", .right))
        for lease in leases {
            table.add("\(lease.process)", lease.subject(names) ?? "every object", lease.pinned.map { "\($0)" } ?? "head")
        }
        let rows = leases.map { lease -> JSON in
            .object([
                ("process", .integer(Int(lease.process))), ("object", .optional(lease.subject(names))),
                ("version", lease.pinned.map { .unsigned($0.rawValue) } ?? .null),
            ])
        }
        try output.show(
            console,
            json: .object([
                ("store", .string(store.path)), ("writer", writer.map { .integer(Int($0)) } ?? .null),
                ("leases", .array(rows)),
            ]),
            text: (writer.map { "Writer: process \($0)" } ?? "Writer: none") + "\n"
                + (leases.isEmpty ? "No version is pinned." : table.text))
        return .success
    }
}

extension LeaseInfo {
    /// The version that it pins; nil where it follows the head.
    var pinned: Version? { version == .infinity ? nil : version }

    /// The object's name, or its number where it has none; nil for every object.
    func subject(_ names: [ObjectID: String]) -> String? { object.map { names[$0] ?? "\($0)" } }
}
