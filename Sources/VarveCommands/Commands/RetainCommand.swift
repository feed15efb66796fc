internal import ArgumentParser
internal import Varve

/// `varve retain`
struct RetainCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "retain",
        abstract: "Show or set which versions are kept.",
        discussion: """
            The newest versions and those that are young enough are kept, whichever keeps more; snapshots are kept in \
            any case. Without options it shows what is set; to keep less than before is asked about.

            Example:
              varve retain photos.varve
              varve retain photos.varve --versions 100 --hours 48
            """)

    @OptionGroup var store: StoreArgument
    @Option(help: ArgumentHelp("How many of the newest versions, at least 1.", valueName: "number"))
    var versions: UInt32?
    @Option(help: ArgumentHelp("How many hours; fractions are fine.", valueName: "number"))
    var hours: Double?
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let versions, versions < 1 { throw ValidationError("--versions needs a number above 0: the last commit is always kept.") }
        if let hours, !(hours >= 0 && hours * 3600 <= Double(UInt32.max)) {
            throw ValidationError("--hours needs a number between 0 and \(UInt32.max / 3600).")
        }
    }

    func execute(_ console: Console) throws -> ExitStatus {
        let isAsked = versions != nil || hours != nil
        let changes = isAsked && !confirmation.dryRun
        let retention = try store.open { store in
            let before = store.retention
            var retention = before
            if let versions { retention.versions = versions }
            if let hours { retention.seconds = UInt32((hours * 3600).rounded()) }
            guard changes else { return retention }
            if retention.versions < before.versions || retention.seconds < before.seconds {
                try confirmation.confirm(console, "Keep less than the newest \(before.versions) versions and the last \(before.seconds) seconds?")
            }
            try store.setRetention(retention)
            return retention
        }
        let kept = Double(retention.seconds) / 3600
        var text = "\(changes ? "Keeping" : isAsked ? "Would keep" : "Keeps") the newest \(retention.versions) versions"
        if retention.seconds > 0 { text += " and all of the last \(ByteSize.fixed(kept, digits: 2)) hours" }
        try output.show(
            console,
            json: .object([
                ("versions", .unsigned(UInt64(retention.versions))), ("hours", .number(kept)),
                ("seconds", .unsigned(UInt64(retention.seconds))), ("changed", .bool(changes)), ("dry_run", .bool(confirmation.dryRun)),
            ]),
            text: text + (isAsked && !changes ? ". Nothing was changed." : "."))
        return .success
    }
}
