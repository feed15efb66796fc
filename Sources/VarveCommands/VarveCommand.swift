internal import ArgumentParser

/// A command that only holds others.
protocol CommandHolder: ParsableCommand {}

/// The root of the command line.
struct VarveCommand: CommandHolder {
    static let configuration = CommandConfiguration(
        commandName: "varve",
        abstract: "Memory objects that persist: map them, change them, keep and compare every version.",
        discussion: """
            A STORE is a folder. OBJECT@SNAPSHOT or OBJECT@VERSION names an object's past state; OBJECT alone is \
            its last commit.

            Example:
              varve init photos.varve
              varve import photos.varve /etc/services --name services
              varve snapshot create photos.varve before
              varve ls photos.varve

            Exit codes: \(ExitStatus.summary).
            """,
        version: "0.1.0",
        groupedSubcommands: [
            Headings.store, Headings.objects, Headings.history, Headings.upkeep,
            Headings.host,
        ])
}

/// The commands under their headings in the help.
private enum Headings {
    static let store = CommandGroup(
        name: "Stores",
        subcommands: [
            InitCommand.self, ListCommand.self, MapsCommand.self, StatCommand.self, BackupCommand.self, ServeCommand.self,
        ])
    static let objects = CommandGroup(
        name: "Objects",
        subcommands: [
            CreateCommand.self, ResizeCommand.self, RenameCommand.self, RemoveCommand.self, ImportCommand.self,
            ExportCommand.self, ReadCommand.self, WriteCommand.self, CloneCommand.self, HeapCommand.self,
        ])
    static let history = CommandGroup(
        name: "History",
        subcommands: [
            LogCommand.self, SnapshotCommand.self, DiffCommand.self, HeatmapCommand.self, RollbackCommand.self, RetainCommand.self,
        ])
    static let upkeep = CommandGroup(
        name: "Upkeep",
        subcommands: [
            VerifyCommand.self, RepairCommand.self, ReclaimCommand.self, OptimizeCommand.self, LeasesCommand.self,
        ])
    static let host = CommandGroup(
        name: "This host", subcommands: [DoctorCommand.self, CrashlabCommand.self, DemoCommand.self, DemoChildCommand.self])
}
