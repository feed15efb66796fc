import ArgumentParser

@main
enum Main {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count > 1, arguments[1] == HeapLookUp.name else { return VarveBench.main() }
        // What is timed is a program that uses a heap: parsing its arguments by reflection would take longer than that.
        do { try HeapLookUp.run(Array(arguments.dropFirst(2))) } catch { VarveBench.exit(withError: error) }
    }
}

struct VarveBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "varve-bench",
        abstract: "Measure Varve beside other ways to make memory durable.",
        subcommands: [
            CommitCommand.self, SnapshotCommand.self, OpenCommand.self, VMCommand.self, SpaceCommand.self, HeapCommand.self,
            ThreadsCommand.self, FaultsCommand.self, BigCommand.self, ReportCommand.self, ResidencyCommand.self,
            EngineCommand.self, OpenChildCommand.self, PinChildCommand.self, HeapEngineCommand.self, DictionaryEngineCommand.self,
        ])
}
