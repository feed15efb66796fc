internal import ArgumentParser
internal import CrashLab
internal import Glibc
internal import Varve

/// Prints errors on standard error, for people or as JSON, and knows the exit code of each.
struct ErrorReporter {
    let console: Console
    let asJSON: Bool

    /// Reports what a command threw and returns its exit code.
    func report(_ error: any Error) -> Int32 {
        switch error {
        case let error as StoreError:
            show(code: error.code.rawValue, error.message, advice: error.advice, path: error.path, errno: error.errno)
            return ExitStatus(error.code).rawValue
        case let error as HeapError:
            if let cause = error.cause { return report(cause) }
            show(code: error.code.rawValue, error.message, advice: error.advice)
            return ExitStatus(error).rawValue
        case let error as VMError:
            show(code: "memory", error.description)
            return ExitStatus.failure.rawValue
        case let error as LabError:
            show(code: "lab", error.description)
            return ExitStatus.failure.rawValue
        case CommandFailure.outputClosed:
            return ExitStatus.success.rawValue
        case CommandFailure.declined:
            show(code: "declined", "nothing was changed")
            return ExitStatus.failure.rawValue
        case CommandFailure.usage(let message, let advice):
            show(code: "usage", message, advice: advice)
            return ExitStatus.usage.rawValue
        default:
            return reportParsing(error)
        }
    }

    /// Prints help that was asked for, or the parser's complaint, and returns the exit code.
    func reportParsing(_ error: any Error) -> Int32 {
        let code = VarveCommand.exitCode(for: error).rawValue
        let message = VarveCommand.fullMessage(for: error, columns: console.columns)
        guard code != 0 else {
            do { try console.print(message) } catch { return report(error) }
            return ExitStatus.success.rawValue
        }
        if asJSON {
            let short = VarveCommand.message(for: error)
            show(code: "usage", short.isEmpty ? "the command line is malformed" : short, advice: Self.helpAdvice)
        } else {
            console.complain(message)
        }
        return code
    }

    /// A group of commands was named, but none of them.
    func reportMissingSubcommand(of holder: any ParsableCommand.Type) -> Int32 {
        if asJSON {
            let names = holder.configuration.subcommands.filter { $0.configuration.shouldDisplay }
                .map { $0.configuration.commandName ?? "" }
            show(
                code: "usage", "a command is missing: \(names.joined(separator: ", "))", advice: Self.helpAdvice)
        } else {
            console.complain(VarveCommand.helpMessage(for: holder, columns: console.columns))
        }
        return ExitStatus.usage.rawValue
    }

    private static let helpAdvice = "See `varve help`"

    private func show(code: String, _ message: String, advice: String = "", path: String? = nil, errno: Int32? = nil) {
        if asJSON {
            let error: JSON = .object([
                ("code", .string(code)), ("message", .string(message)), ("advice", .string(advice)),
                ("path", .optional(path)), ("errno", errno.map { .integer(Int($0)) } ?? .null),
            ])
            console.complain(JSON.object([("error", error)]).text)
            return
        }
        var text = "varve: " + Printable.text(message)
        if let path, !message.contains(path) { text += " (\(Printable.text(path)))" }
        if let errno { text += ": " + String(cString: strerror(errno)) }
        if !advice.isEmpty { text += "\n  " + Printable.text(advice) }
        console.complain(text)
    }
}
