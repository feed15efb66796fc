internal import ArgumentParser
internal import Varve

/// `varve diff`
struct DiffCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Compare two states.",
        discussion: """
            A state is a snapshot, a version, or `head`. What is compared is the bytes of objects, by what they are and not by their \
            names: renamed ones are the same, and maps of tasks are not looked at (`varve ls --at` and `varve maps` show both). Exits \
            with 1 where they differ, with 0 where they don't.

            Example:
              varve diff photos.varve before head
              varve diff photos.varve 12 15 --object index --pages
              varve diff photos.varve before head --lines
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The state before.")
    var a: String
    @Argument(help: "The state after.")
    var b: String = "head"
    @Option(help: "This object only.")
    var object: String?
    @Flag(help: "List the pages that differ.")
    var pages = false
    @Flag(help: "List the 64-byte lines that differ, page by page.")
    var lines = false
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let states = (StateText.parse(a), StateText.parse(b))
        let (versions, differences) = try store.open { store in
            let versions = (try store.version(of: states.0), try store.version(of: states.1))
            return (versions, try store.diff(states.0, states.1, object: object))
        }
        let report = DifferenceReport(differences)
        try output.show(
            console,
            json: .object([
                ("store", .string(store.path)), ("a", Self.json(a, versions.0)), ("b", Self.json(b, versions.1)),
                ("different", .bool(!differences.isEmpty)), ("differences", report.json),
            ]),
            text: differences.isEmpty
                ? "No differences between \(Printable.text(a)) and \(Printable.text(b))."
                : report.text + (pages ? "\n" + report.pageList : "") + (lines ? "\n" + report.lineList : ""))
        return differences.isEmpty ? .success : .differences
    }

    private static func json(_ state: String, _ version: Version) -> JSON {
        .object([("state", .string(state)), ("version", .unsigned(version.rawValue))])
    }
}

/// What two states differ in, for people and programs.
struct DifferenceReport {
    let differences: [Store.Difference]

    init(_ differences: [Store.Difference]) { self.differences = differences }

    var text: String {
        var table = Table(("OBJECT", .left), ("WHAT", .left), ("SIZE", .right), ("PAGES", .right), ("BYTES", .right))
        for difference in differences {
            let (before, after) = (ByteSize.text(difference.sizeBefore), ByteSize.text(difference.sizeAfter))
            let size =
                switch difference.kind {
                case .added: after
                case .removed: before
                case .changed, .resized: difference.sizeBefore == difference.sizeAfter ? after : "\(before) → \(after)"
                }
            table.add(
                difference.name, difference.kind.rawValue, size, "\(difference.changedPages)",
                ByteSize.text(difference.changedBytes))
        }
        return table.text
    }

    /// The ranges of pages, object by object.
    var pageList: String {
        differences.flatMap { difference in
            difference.pages.map { range in
                let pages = range.count == 1 ? "page \(range.start)" : "pages \(range.start)–\(range.end - 1)"
                return "\(Printable.text(difference.name)): \(pages)"
            }
        }.joined(separator: "\n")
    }

    /// The lines of each page, object by object.
    var lineList: String {
        differences.flatMap { difference in
            difference.lines.map { page in
                let ranges = Self.ranges(page.mask).map { $0.count == 1 ? "\($0.start)" : "\($0.start)–\($0.end - 1)" }
                let noun = page.mask.nonzeroBitCount == 1 ? "line" : "lines"
                return "\(Printable.text(difference.name)): page \(page.page), \(noun) \(ranges.joined(separator: ", "))"
            }
        }.joined(separator: "\n")
    }

    /// The runs of lines of a page.
    private static func ranges(_ mask: UInt64) -> [PageRange] {
        var runs: [PageRange] = []
        for line in 0..<64 where mask & 1 << UInt64(line) != 0 {
            if let last = runs.last, last.end == line { runs[runs.count - 1].count += 1 } else { runs.append(PageRange(start: line, count: 1)) }
        }
        return runs
    }

    var json: JSON {
        .array(
            differences.map { difference in
                .object([
                    ("name", .string(difference.name)), ("id", .unsigned(difference.id.rawValue)),
                    ("kind", .string(difference.kind.rawValue)), ("size_before", .unsigned(difference.sizeBefore)),
                    ("size_after", .unsigned(difference.sizeAfter)), ("changed_pages", .integer(difference.changedPages)),
                    ("changed_bytes", .integer(difference.changedBytes)),
                    ("pages", .array(difference.pages.map(Self.json))),
                    (
                        "lines",
                        .array(
                            difference.lines.map { page in
                                .object([
                                    ("page", .integer(page.page)), ("lines", .array(Self.ranges(page.mask).map(Self.json))),
                                ])
                            })
                    ),
                ])
            })
    }

    private static func json(_ range: PageRange) -> JSON {
        .object([("start", .integer(range.start)), ("count", .integer(range.count))])
    }
}
