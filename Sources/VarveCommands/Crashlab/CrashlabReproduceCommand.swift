internal import ArgumentParser
internal import CrashLab
internal import Varve

/// `varve crashlab reproduce`
struct CrashlabReproduceCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "reproduce",
        abstract: "Check again what a run kept.",
        discussion: """
            Exits with 1 where the image still lacks what was promised. The image itself stays as it was.

            Example:
              varve crashlab reproduce crashlab-failures/7-411-3f2a
            """)

    @Argument(help: "The folder that a run has kept.")
    var folder: String
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let scratch = try CrashlabScratch()
        let finding = try Failure.reproduce(CrashlabScratch.absolute(folder), scratch: scratch.path)
        try output.show(
            console, json: .object([("folder", .string(folder)), ("violation", finding.map { .string($0) } ?? .null)]),
            text: finding.map { "VIOLATION \($0)" } ?? "The image holds what was promised.")
        return finding == nil ? .success : .differences
    }
}
