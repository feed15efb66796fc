internal import ArgumentParser
internal import Varve

/// `varve maps`
struct MapsCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "maps",
        abstract: "Show a task's regions, as /proc/PID/maps shows a process's.",
        discussion: """
            A line is a region: its addresses, its protection now and at most, s where a child shares it (c: gets a \
            copy, n: gets nothing), the offset into its object, the object's number and name. Without TASK the tasks \
            are listed.

            Example:
              varve maps photos.varve main@before
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "TASK, TASK@SNAPSHOT or TASK@VERSION.")
    var task: String?
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        guard let task else {
            let names = try store.open { try $0.taskNames() }
            try output.show(
                console,
                json: .object([("store", .string(store.path)), ("tasks", .array(names.map { .string($0) }))]),
                text: names.isEmpty ? "No tasks." : names.joined(separator: "\n"))
            return .success
        }
        let reference = StateText.parseReference(task)
        let regions = try store.open { try $0.regions(ofTask: reference.name, at: reference.state) }
        try output.show(
            console,
            json: .object([
                ("store", .string(store.path)), ("task", .string(reference.name)),
                ("state", .string(StateText.describe(reference.state))), ("regions", .array(regions.map(json))),
            ]),
            text: regions.isEmpty ? "No regions." : regions.map(line).joined(separator: "\n"))
        return .success
    }

    private func line(_ region: Store.SavedRegion) -> String {
        let inheritance =
            switch region.inheritance {
            case .share: "s"
            case .copy: "c"
            case .none: "n"
            }
        let offset = String(region.offset, radix: 16)
        let object = region.object.map { "\($0)" } ?? "-"
        let name = region.objectName.isEmpty ? (region.isCopied ? "[copy]" : "[memory]") : region.objectName
        return String(region.start, radix: 16) + "-" + String(region.end, radix: 16)
            + " \(region.current)\(inheritance) \(region.maximum) "
            + String(repeating: "0", count: max(0, 8 - offset.count)) + offset + " \(object) \(name)"
    }

    private func json(_ region: Store.SavedRegion) -> JSON {
        .object([
            ("start", .unsigned(region.start)), ("end", .unsigned(region.end)),
            ("protection", .string("\(region.current)")), ("maximum", .string("\(region.maximum)")),
            ("inheritance", .string("\(region.inheritance)")), ("copied", .bool(region.isCopied)),
            ("object", region.object.map { .unsigned($0.rawValue) } ?? .null), ("name", .string(region.objectName)),
            ("offset", .unsigned(region.offset)),
        ])
    }
}
