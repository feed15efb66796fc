import ArgumentParser
import Foundation
import Varve

/// `varve-bench big`: what operations cost in stores that have grown.
struct BigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "big",
        abstract: "Time operations against the number of objects, snapshots and commits, and an object's size.")

    @Flag(help: "Print lines of JSON instead of tables.")
    var json = false

    @Flag(help: "Stores of a tenth.")
    var quick = false

    @Option(help: "What grows, separated by commas: \(Growth.allCases.map(\.rawValue).joined(separator: ",")).")
    var only: String?

    @Option(help: "Where the stores are made, in a fresh folder; by default TMPDIR or /var/tmp.")
    var dir: String?

    func run() throws {
        let parent = dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        let machine = Machine(volume: try Volume(of: parent))
        let report = GrowthReport(json: json)
        report.begin(machine)
        for growth in try chosen() {
            let workspace = try Workspace(under: parent)
            defer { workspace.close() }
            var times: [(size: Int, rows: [(name: String, times: Times)])] = []
            let store = try GrowingStore(workspace.path + "/store")
            for size in growth.sizes.map({ quick && growth != .gibibytes ? $0 / 10 : $0 }) {
                try grow(store, growth, to: size)
                StandardError.progress("\(growth.rawValue): timing at \(size)")
                times.append((size, try store.timeOperations(rounds: quick ? 10 : 30)))
            }
            StandardError.progress("")
            report.print(growth.rawValue, times)
            try store.close()
        }
    }

    private func chosen() throws -> [Growth] {
        guard let only else { return Growth.allCases }
        return try only.split(separator: ",").map { name in
            guard let growth = Growth(rawValue: String(name)) else {
                throw ValidationError("'\(name)' is none of \(Growth.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            return growth
        }
    }

    private func grow(_ store: GrowingStore, _ growth: Growth, to size: Int) throws {
        func told(_ present: Int) {
            if present % 1000 == 0 { StandardError.progress("\(growth.rawValue): \(present) of \(size)") }
        }
        switch growth {
        case .objects: try store.growObjects(to: size, told)
        case .snapshots: try store.growSnapshots(to: size, told)
        case .commits: try store.growCommits(to: size, told)
        case .gibibytes: try store.growObject(toGiB: size)
        }
    }
}

/// What grows, and to which sizes.
enum Growth: String, CaseIterable {
    case objects, snapshots, commits
    /// Of one object, with written pages scattered over it.
    case gibibytes = "GiB of an object"

    var sizes: [Int] {
        switch self {
        case .objects: [1_000, 10_000, 100_000]
        case .snapshots: [100, 1_000, 10_000]
        case .commits: [10_000, 100_000, 1_000_000]
        case .gibibytes: [1, 32, 1024]
        }
    }
}
