internal import ArgumentParser
internal import Varve

/// `varve ls`
struct ListCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List a store's objects.",
        discussion: """
            Example:
              varve ls photos.varve
              varve ls photos.varve --at before
            """)

    @OptionGroup var store: StoreArgument
    @Option(help: ArgumentHelp("As of this snapshot or version.", valueName: "state"))
    var at: String?
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let state = at.map(StateText.parse) ?? .head
        let (version, objects) = try store.open { store in
            (try store.version(of: state), try store.objects(at: state))
        }
        try output.show(
            console, json: json(version, objects),
            text: objects.isEmpty ? "No objects at version \(version)." : table(objects).text)
        return .success
    }

    private func table(_ objects: [Store.ObjectSummary]) -> Table {
        var table = Table(("NAME", .left), ("SIZE", .right), ("DATA", .right), ("RESIDENCY", .left), ("SINCE", .right), ("ID", .right))
        for object in objects {
            table.add(
                object.name, ByteSize.text(object.size), ByteSize.text(object.pagesWritten * Page.size),
                object.residency.label, "\(object.born)", "\(object.id)")
        }
        return table
    }

    private func json(_ version: Version, _ objects: [Store.ObjectSummary]) -> JSON {
        let rows = objects.map { object -> JSON in
            .object([
                ("name", .string(object.name)), ("id", .unsigned(object.id.rawValue)), ("size", .unsigned(object.size)),
                ("data_pages", .integer(object.pagesWritten)), ("residency", .string(object.residency.label)),
                ("born", .unsigned(object.born.rawValue)),
            ])
        }
        return .object([
            ("store", .string(store.path)), ("version", .unsigned(version.rawValue)), ("objects", .array(rows)),
        ])
    }
}
