import Foundation

/// What a run of the benchmarks printed with `--json`: any of them, one behind the other.
struct RunLines {
    /// Commits of one choice of pages and number of changed bytes, whose rows follow their head.
    struct Commits {
        var head: Head
        var rows: [CommitRow] = []

        var engines: [String] { rows.map(\.engine).reduce(into: []) { if !$0.contains($1) { $0.append($1) } } }
        var pageCounts: [Int] { Set(rows.map(\.k)).sorted() }

        func row(_ engine: String, _ k: Int) -> CommitRow? { rows.last { $0.engine == engine && $0.k == k } }
    }

    struct Head: Decodable {
        var machine: MachineLine
        var objectBytes: Int?
        var choice: String?
        var bytesOfPage: Int?
        var entries: Int?
        var pageWrites: Int?
    }

    struct MachineLine: Decodable {
        var kernel: String
        var processors: Int
        var busyProcessors: Double?
        var fileSystem: String
        var date: String

        var text: String {
            let busy = busyProcessors.map { String(format: ", others kept %.1f processors busy before", $0) } ?? ""
            return "\(date), Linux \(kernel), \(processors) processors, \(fileSystem)\(busy)"
        }
    }

    struct CommitRow: Decodable {
        var engine: String
        var k: Int
        var commits: Int
        var medianUs: Double
        var p99Us: Double
        var meanUs: Double
        var bytesPerCommit: Double?
        var ratioToPwrite: Double?
        /// Of `CommitSample.reportedQuantiles`.
        var quantilesUs: [Double]?
    }

    struct SpaceRow: Decodable {
        var run: String
        var heapBytes: Int
        var k: Int
        var committedBytes: Int
        var journalAmplification: Double
        var lifetimeAmplification: Double
        var meanUsed: Double
        var mostUsed: Double
        var file: Double
        var disk: Double
        var medianUs: Double
        var p99Us: Double
        var meanUs: Double
        var usedOverTime: [Double]
    }

    /// Of the benchmarks that time operations by name.
    struct TimesRow: Decodable {
        var benchmark: String
        var name: String
        var count: Int?
        var medianUs: Double
        var p99Us: Double
    }

    struct EngineRow: Decodable {
        var benchmark: String
        var engine: String
        var medianNs: Double
        var meanNs: Double
        var ratio: Double?
    }

    struct ThreadsRow: Decodable {
        var threads: Int
        var engine: String
        var commitsPerSecond: Double
        var ratioToOneThread: Double
    }

    struct GrowthRow: Decodable {
        var growth: String
        var operation: String
        var sizes: [Int]
        var medianUs: [Double]
    }

    private(set) var commits: [Commits] = []
    private(set) var space: [SpaceRow] = []
    private(set) var times: [TimesRow] = []
    private(set) var engines: [EngineRow] = []
    private(set) var threads: [ThreadsRow] = []
    private(set) var growth: [GrowthRow] = []
    /// The machine that a kind of rows was measured on, by the kind's name.
    private(set) var machines: [String: MachineLine] = [:]

    /// - Throws: Where a line is none of these, naming it.
    init(_ text: String, from name: String) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        var machine: MachineLine?
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() where !line.isEmpty {
            func decoded<Line: Decodable>(_ type: Line.Type) -> Line? { try? decoder.decode(type, from: Data(line.utf8)) }
            if let head = decoded(Head.self) {
                machine = head.machine
                if head.choice != nil { commits.append(Commits(head: head)) }
            } else if let plain = decoded(MachineLine.self) {
                machine = plain
            } else if let row = decoded(CommitRow.self), !commits.isEmpty {
                commits[commits.count - 1].rows.append(row)
            } else if let row = decoded(SpaceRow.self) {
                space.append(row)
                machines["space"] = machine
            } else if let row = decoded(TimesRow.self) {
                times.append(row)
                machines[row.benchmark] = machine
            } else if let row = decoded(EngineRow.self) {
                engines.append(row)
                machines[row.benchmark] = machine
            } else if let row = decoded(ThreadsRow.self) {
                threads.append(row)
                machines["threads"] = machine
            } else if let row = decoded(GrowthRow.self) {
                growth.append(row)
                machines["growth"] = machine
            } else {
                throw BenchError("\(name), line \(index + 1) is no line of a benchmark's --json: \(line.prefix(80))")
            }
        }
        commits.removeAll { $0.rows.isEmpty }
    }

    /// The benchmarks that timed operations by name, in the order of the run.
    var timedBenchmarks: [String] { times.map(\.benchmark).reduce(into: []) { if !$0.contains($1) { $0.append($1) } } }
    var engineBenchmarks: [String] { engines.map(\.benchmark).reduce(into: []) { if !$0.contains($1) { $0.append($1) } } }
}
