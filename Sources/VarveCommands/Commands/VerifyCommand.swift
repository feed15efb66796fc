internal import ArgumentParser
internal import Glibc
internal import Varve

/// `varve verify`
struct VerifyCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check every byte of a store that something still needs.",
        discussion: """
            Exits with 12 where something is damaged, naming all of it; `varve repair` then saves the rest. The check \
            runs in a process of its own, as a damaged file may end it.

            Example:
              varve verify photos.varve
            """)

    @OptionGroup var store: StoreArgument
    @Flag(help: .private)
    var asChild = false
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        if asChild { return try speak(to: console) }
        var findings: [VerifyMessage.FindingLine] = []
        let found = { (finding: VerifyMessage.FindingLine) throws in
            findings.append(finding)
            if !output.json { try console.print(finding.text) }
        }
        let (summary, seconds) = try Times.measure {
            if let executable = console.executable {
                try checkInChild(executable, found)
            } else {
                try checkHere(found)
            }
        }
        let damaged = findings.contains(where: \.isDamage)
        try output.show(
            console, json: json(summary, findings, damaged, seconds), text: text(summary, findings.count, damaged, seconds))
        return damaged ? .damaged : .success
    }

    private func checkHere(_ found: (VerifyMessage.FindingLine) throws -> Void) throws -> VerifyMessage.SummaryLine {
        try store.open { store in
            var failure: (any Error)?
            // Damage may hide the names: numbers do then.
            let names = (try? store.objectNames()) ?? [:]
            let summary = try store.verify { finding in
                do { try found(VerifyMessage.FindingLine(finding, names)) } catch { failure = failure ?? error }
            }
            if let failure { throw failure }
            return VerifyMessage.SummaryLine(summary)
        }
    }

    /// What the child prints: a line for each finding, then one for the summary or the failure.
    private func speak(to console: Console) throws -> ExitStatus {
        do {
            let summary = try checkHere { try console.print(VerifyMessage(finding: $0).encoded()) }
            try console.print(VerifyMessage(summary: summary).encoded())
        } catch let error as StoreError {
            try console.print(VerifyMessage(failure: VerifyMessage.FailureLine(error)).encoded())
        }
        return .success
    }

    private func checkInChild(
        _ executable: String, _ found: (VerifyMessage.FindingLine) throws -> Void
    ) throws -> VerifyMessage.SummaryLine {
        let child = try ChildProcess(executable, ["verify", "--as-child", "--", store.path])
        var summary: VerifyMessage.SummaryLine?
        // Checking a large store says nothing for as long as nothing is wrong.
        while let line = try child.line(within: 24 * 3600) {
            guard let message = VerifyMessage(line: line) else { continue }
            if let finding = message.finding { try found(finding) }
            if let failure = message.failure { throw failure.error }
            summary = message.summary ?? summary
        }
        switch child.wait() {
        case .exit(let code):
            guard let summary else {
                throw StoreError(
                    .io, "the checking process ended with exit code \(code) and without a result",
                    advice: "Run `varve verify` again", path: store.path)
            }
            return summary
        case .signal(let signal):
            let cause =
                signal == SIGBUS
                ? "a file of the store is shorter than it says, or can't be read" : "bytes on disk are not what was written"
            try found(
                VerifyMessage.FindingLine(
                    isDamage: signal != SIGKILL && signal != SIGTERM && signal != SIGINT, place: store.path,
                    message: "the check was ended by signal \(signal) (\(String(cString: strsignal(signal)))): \(cause)"))
            return summary ?? VerifyMessage.SummaryLine()
        }
    }

    private func text(_ summary: VerifyMessage.SummaryLine, _ findings: Int, _ damaged: Bool, _ seconds: Double) -> String {
        let checked = """
            \(summary.pagesChecked) pages (\(ByteSize.text(summary.bytesChecked))) of \(summary.objects) objects, \
            \(summary.versions) versions and \(summary.journalRecords) journal records in \(Times.duration(seconds))
            """
        if damaged {
            return "DAMAGED: \(findings) finding(s) in \(checked).\n`varve repair \(Printable.text(store.path))` saves what is intact."
        }
        return "Intact: checked \(checked)" + (findings > 0 ? ", with \(findings) warning(s)." : ".")
    }

    private func json(
        _ summary: VerifyMessage.SummaryLine, _ findings: [VerifyMessage.FindingLine], _ damaged: Bool, _ seconds: Double
    ) -> JSON {
        .object([
            ("store", .string(store.path)), ("ok", .bool(!damaged)), ("findings", .array(findings.map(\.json))),
            ("objects", .integer(summary.objects)), ("versions", .integer(summary.versions)),
            ("pages_checked", .integer(summary.pagesChecked)), ("bytes_checked", .integer(summary.bytesChecked)),
            ("journal_records", .integer(summary.journalRecords)), ("seconds", .seconds(seconds)),
        ])
    }
}
