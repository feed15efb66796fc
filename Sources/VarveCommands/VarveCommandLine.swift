internal import ArgumentParser
internal import Glibc
internal import Varve

/// The command line as a function: what `varve` does with its arguments.
public enum VarveCommandLine {
    /// Runs the process's own arguments and exits.
    public static func main() -> Never {
        // A reader that goes away (`varve read … | head`) shows as EPIPE, so that the store is closed in order.
        signal(SIGPIPE, SIG_IGN)
        exit(run(Array(CommandLine.arguments.dropFirst()), console: .standard()))
    }

    /// Runs one command line, without the program's name, and gives the exit code: see ``ExitStatus``.
    ///
    /// Everything is read from and printed to `console`. Thread-safe where each call has a console of its own.
    public static func run(_ arguments: [String], console: Console) -> Int32 {
        let wantsJSON = arguments.prefix { $0 != "--" }.contains("--json")
        let reporter = ErrorReporter(console: console, asJSON: wantsJSON)
        if let suggestion = MisspeltCommand.find(in: arguments, of: VarveCommand.self) {
            return reporter.report(suggestion.failure)
        }
        let command: any ParsableCommand
        do {
            command = try VarveCommand.parseAsRoot(arguments)
        } catch {
            return reporter.reportParsing(error)
        }
        do {
            guard let subcommand = command as? any Subcommand else {
                return try runBuiltIn(command, reporter: reporter)
            }
            return try subcommand.execute(console).rawValue
        } catch {
            return reporter.report(error)
        }
    }

    /// Help on request is a success; a group of commands without one of them is a usage error that shows the help.
    private static func runBuiltIn(_ command: any ParsableCommand, reporter: ErrorReporter) throws -> Int32 {
        if command is any CommandHolder {
            return reporter.reportMissingSubcommand(of: type(of: command))
        }
        do {
            var command = command
            try command.run()
            return ExitStatus.success.rawValue
        } catch {
            return reporter.reportParsing(error)
        }
    }
}
