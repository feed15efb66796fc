internal import ArgumentParser
internal import Varve

/// `varve reclaim`
struct ReclaimCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "reclaim",
        abstract: "Free what nobody can see any more.",
        discussion: """
            Kept versions, snapshots and what other processes read stay: see `varve retain` and `varve leases`.

            Example:
              varve reclaim photos.varve --dry-run
              varve reclaim photos.varve
            """)

    @OptionGroup var store: StoreArgument
    @Flag(help: "Show what would be freed, and free nothing.")
    var dryRun = false
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let report = try store.open { try $0.reclaim(dryRun: dryRun) }
        try output.show(
            console, json: report.json(dryRun: dryRun),
            text: report.text(dryRun ? "Would free" : "Freed") + (dryRun ? "\nNothing was changed." : ""))
        return .success
    }
}

/// `varve optimize`
struct OptimizeCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "optimize",
        abstract: "Rewrite an object's last state in order, so that it maps in long runs.",
        discussion: """
            Example:
              varve optimize photos.varve index
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The object; every one where absent.")
    var object: String?
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let report = try store.open { try $0.optimize(object) }
        try output.show(console, json: report.json(dryRun: false), text: report.text("Freed"))
        return .success
    }
}

extension ReclaimReport {
    func json(dryRun: Bool) -> JSON {
        .object([
            ("layers_dropped", .integer(layersDropped)), ("layers_merged", .integer(layersMerged)),
            ("bytes_freed", .integer(bytesFreed)), ("bytes_rewritten", .integer(bytesRewritten)),
            ("bytes_pinned", .integer(bytesPinned)), ("dry_run", .bool(dryRun)),
        ])
    }

    func text(_ verb: String) -> String {
        var facts = Facts()
        facts.add(verb, ByteSize.text(bytesFreed))
        facts.add("Rewritten", ByteSize.text(bytesRewritten))
        facts.add("Layers", "\(layersDropped) dropped, \(layersMerged) merged")
        if bytesPinned > 0 { facts.add("Still in use", "\(ByteSize.text(bytesPinned)) (see `varve leases`)") }
        return facts.text
    }
}
