import ArgumentParser

@main
struct VarveBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "varve-bench",
        abstract: "Measure Varve beside other ways to make memory durable.",
        subcommands: [
            CommitCommand.self, SnapshotCommand.self, OpenCommand.self, VMCommand.self, SpaceCommand.self, HeapCommand.self,
            EngineCommand.self, OpenChildCommand.self, PinChildCommand.self, HeapEngineCommand.self, DictionaryEngineCommand.self,
            HeapLookUpCommand.self,
        ])
}
