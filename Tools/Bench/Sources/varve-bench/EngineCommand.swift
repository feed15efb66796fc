import ArgumentParser

/// `varve-bench engine NAME DIR OBJECT_BYTES SEED`: an engine of this executable, serving the protocol.
struct EngineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "engine", abstract: "Serve one engine on standard input and output.", shouldDisplay: false)

    @Argument var name: String
    @Argument var directory: String
    @Argument var objectBytes: UInt64
    @Argument var seed: UInt64
    @Option var bytes = 4096

    func run() throws {
        guard let make = SwiftEngines.all[name] else { throw ValidationError("no engine is called \(name)") }
        let status = EngineHost(make: make, bytes: bytes).serve(directory: directory, objectBytes: objectBytes, seed: seed)
        throw ExitCode(status)
    }
}
