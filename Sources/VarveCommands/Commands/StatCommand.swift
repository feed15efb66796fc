internal import ArgumentParser
internal import Varve

/// `varve stat`
struct StatCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "stat",
        abstract: "Show a store's versions, space and ways of working.",
        discussion: """
            Example:
              varve stat photos.varve
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (statistics, recovery) = try store.open { (try $0.statistics(), $0.recovery) }
        try output.show(console, json: json(statistics, recovery), text: text(statistics, recovery))
        return .success
    }

    private func text(_ it: Store.Statistics, _ recovery: RecoveryReport) -> String {
        var facts = Facts()
        facts.add("Store", store.path)
        facts.add("UUID", it.uuid)
        facts.add("Version", "\(it.version) (flushed \(it.flushedVersion), settled \(it.settledVersion))")
        facts.add("Objects", "\(it.objects)")
        facts.add("Snapshots", "\(it.snapshots)")
        facts.add("Live data", ByteSize.text(it.liveBytes))
        facts.add("On disk", ByteSize.text(it.diskBytes))
        facts.add("Pages", "\(ByteSize.text(it.pageFileBytes)), of which \(ByteSize.text(it.pageFileFreeBytes)) free")
        facts.add("Journal", "\(ByteSize.text(it.journalBytes)), of which \(ByteSize.text(it.journalUsedBytes)) used")
        facts.add("Catalog", ByteSize.text(it.catalogBytes))
        facts.add("Dirty tracking", it.tracking)
        facts.add("Pages on demand", it.demandFill ? "yes" : "no")
        facts.add("Window base", Self.hexadecimal(it.windowBase))
        facts.add(
            "Opened", recovery.wasClean ? "after a clean close" : "after a crash: \(recovery.records) records recovered")
        return facts.text
    }

    private func json(_ it: Store.Statistics, _ recovery: RecoveryReport) -> JSON {
        .object([
            ("store", .string(store.path)), ("uuid", .string(it.uuid)), ("version", .unsigned(it.version.rawValue)),
            ("flushed_version", .unsigned(it.flushedVersion.rawValue)),
            ("settled_version", .unsigned(it.settledVersion.rawValue)),
            ("objects", .integer(it.objects)), ("snapshots", .integer(it.snapshots)),
            ("live_bytes", .unsigned(it.liveBytes)), ("page_file_bytes", .unsigned(it.pageFileBytes)),
            ("page_file_free_bytes", .unsigned(it.pageFileFreeBytes)), ("journal_bytes", .unsigned(it.journalBytes)),
            ("journal_used_bytes", .unsigned(it.journalUsedBytes)), ("catalog_bytes", .unsigned(it.catalogBytes)),
            ("disk_bytes", .unsigned(it.diskBytes)), ("tracking", .string(it.tracking)),
            ("demand_fill", .bool(it.demandFill)), ("window_base", .string(Self.hexadecimal(it.windowBase))),
            ("clean", .bool(recovery.wasClean)), ("recovered_records", .integer(recovery.records)),
        ])
    }

    private static func hexadecimal(_ address: UInt64) -> String { "0x" + String(address, radix: 16) }
}
