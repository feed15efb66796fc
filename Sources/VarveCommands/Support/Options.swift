internal import ArgumentParser
internal import Varve

/// A command that does something.
protocol Subcommand: ParsableCommand {
    /// Runs it; what it throws is reported by the caller.
    func execute(_ console: Console) throws -> ExitStatus
}

/// How the result is printed.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print JSON: stable keys, sizes in bytes, times in ISO 8601; errors too.")
    var json = false

    /// Prints one of the two forms.
    func show(_ console: Console, json value: @autoclosure () -> JSON, text: @autoclosure () -> String) throws {
        try console.print(json ? value().text : text())
    }
}

/// For commands that take something away.
struct ConfirmationOptions: ParsableArguments {
    @Flag(help: "Do it without asking; needed where standard input is not a terminal.")
    var yes = false

    @Flag(help: "Show what would be done, and do nothing.")
    var dryRun = false

    /// Returns where the person agrees; throws ``CommandFailure`` otherwise.
    func confirm(_ console: Console, _ question: String) throws {
        if yes { return }
        guard console.asksPeople else {
            throw CommandFailure.usage(
                message: "this needs --yes, as standard input is no terminal to ask on: \(question)",
                advice: "Add --yes to do it, or --dry-run to see what it would do")
        }
        guard try console.ask(question) else { throw CommandFailure.declined }
    }
}

/// The store, as every command but a few takes it first.
struct StoreArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("The store's folder.", valueName: "store"))
    var path: String
}

/// What the log says about a commit.
struct MessageOption: ParsableArguments {
    @Option(name: [.short, .long], help: "What the log says about this commit.")
    var message = ""
}
