internal import ArgumentParser
internal import Varve

/// `varve heatmap`
struct HeatmapCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "heatmap",
        abstract: "Show which pages changed how often, over the versions that are kept.",
        discussion: """
            Each version of an object that can still be looked at is compared with the one before it; `varve retain` \
            keeps more of them. Without OBJECT, all objects are shown. The number before a row is that of its first page.

            Example:
              varve heatmap photos.varve services --svg services.svg
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The object, or # and its number.")
    var object: String?
    @Option(help: ArgumentHelp("Write the picture to a file, as SVG; one that is there is replaced.", valueName: "file"), completion: .file())
    var svg: String?
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let counts = try store.open { store in
            let names = try object.map { [$0] } ?? store.objects().map { $0.name.isEmpty ? "\($0.id)" : $0.name }
            return try names.map { try store.changeCounts(of: $0) }
        }
        if let svg { try TextFile.write(HeatPicture(grids: counts.map { HeatGrid($0, rowLimit: 64) }).text, to: svg) }
        try output.show(
            console,
            json: .object([("store", .string(store.path)), ("svg", .optional(svg)), ("objects", .array(counts.map(json)))]),
            text: counts.isEmpty ? "No objects." : counts.map { HeatGrid($0, rowLimit: 24).text }.joined(separator: "\n\n"))
        return .success
    }

    private func json(_ counts: Store.ChangeCounts) -> JSON {
        .object([
            ("name", .string(counts.name)), ("id", .unsigned(counts.object.rawValue)), ("size", .unsigned(counts.size)),
            ("versions", .array(counts.versions.map { .unsigned($0.rawValue) })),
            ("pages", .array(
                counts.runs.map {
                    .object([
                        ("start", .integer($0.pages.start)), ("count", .integer($0.pages.count)), ("changes", .integer($0.changes)),
                    ])
                })),
        ])
    }
}
