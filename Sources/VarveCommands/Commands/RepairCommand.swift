internal import ArgumentParser
internal import Glibc
internal import Varve

/// `varve repair`
struct RepairCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Copy all that is intact of a damaged store, and name what is not.",
        discussion: """
            The store itself stays as it is. Exits with 12 where something was lost.

            Example:
              varve repair photos.varve --into rescued.varve
            """)

    @OptionGroup var store: StoreArgument
    @Option(help: ArgumentHelp("The copy's folder; STORE.repaired where absent.", valueName: "copy"))
    var into: String?
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        var base = store.path
        while base.count > 1 && base.hasSuffix("/") { base.removeLast() }
        let copy = into ?? base + ".repaired"
        // A store that lacks one of the two can still be looked at; a folder without either is none.
        guard [StoreFile.pages, StoreFile.journal].contains(where: { access(base + "/" + $0, F_OK) == 0 }) else {
            throw StoreError(.noStore, "there is no store here", advice: "Check the path", path: store.path)
        }
        let report = try Store.repair(store.path, into: copy) { line in
            if !output.json { console.complain(Printable.text(line)) }
        }
        try output.show(
            console,
            json: .object([
                ("store", .string(store.path)), ("copy", .string(copy)), ("objects", .integer(report.objects)),
                ("snapshots", .integer(report.snapshots)), ("pages_kept", .integer(report.pagesKept)),
                ("pages_lost", .integer(report.pagesLost)), ("lost", .array(report.lost.map { .string($0) })),
            ]),
            text: text(report, copy))
        return report.lost.isEmpty && report.pagesLost == 0 ? .success : .damaged
    }

    private func text(_ report: StoreRepair, _ copy: String) -> String {
        var facts = Facts()
        facts.add("Copy", copy)
        facts.add("Objects", "\(report.objects)")
        facts.add("Snapshots", "\(report.snapshots)")
        facts.add("Pages kept", "\(report.pagesKept)")
        facts.add("Pages lost", "\(report.pagesLost)")
        return ([facts.text] + report.lost.map { "Lost: " + Printable.text($0) }).joined(separator: "\n")
    }
}
