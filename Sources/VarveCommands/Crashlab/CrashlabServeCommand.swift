internal import ArgumentParser
internal import CCrashAdapters
internal import Glibc
internal import Varve

/// `varve crashlab serve`: starts another program's work and recovery for the lab, and kills them when it is told to.
struct CrashlabServeCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Start an adapter's runs, as the lab asks.", shouldDisplay: false)

    @Argument(parsing: .captureForPassthrough, help: "The program and its first arguments.")
    var program: [String]

    func execute(_ console: Console) throws -> ExitStatus {
        var words = program.map { strdup($0) }
        defer { for word in words { free(word) } }
        return ExitStatus(rawValue: crash_serve_program(Int32(words.count), &words))
    }
}
