internal import ArgumentParser

/// `varve crashlab`
struct CrashlabCommand: CommandHolder {
    static let configuration = CommandConfiguration(
        commandName: "crashlab",
        abstract: "Find out what power cuts, kills and failing calls do to a store: Varve's, or that of a program of yours.",
        discussion: """
            docs/CRASHLAB.md says what is simulated, what is not, and how to test a program of yours.

            Example:
              varve crashlab run enumerator --budget 60
            """,
        subcommands: [CrashlabRunCommand.self, CrashlabReproduceCommand.self, CrashlabAdapterCommand.self, CrashlabServeCommand.self])
}
