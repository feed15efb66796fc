import ArgumentParser
import Foundation

/// `varve-bench report`: what runs printed with `--json`, as tables and charts.
struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Write the tables of BENCHMARKS.md, and SVG charts beside it, from what a run printed with --json.")

    @Argument(help: "Files of JSON lines, of any of the benchmarks; '-' is the standard input.")
    var runs: [String]

    @Option(help: "The folder with BENCHMARKS.md, which is made where it is not there; charts go into 'benchmarks' in it.")
    var into = "docs"

    func run() throws {
        var lines = ""
        for run in runs {
            let data = run == "-" ? FileHandle.standardInput.readDataToEndOfFile() : try read(run)
            let text = String(decoding: data, as: UTF8.self)
            _ = try RunLines(text, from: run)
            lines += text.hasSuffix("\n") ? text : text + "\n"
        }
        let sections = ReportSections(try RunLines(lines, from: runs.joined(separator: ", "))).all
        guard !sections.isEmpty else { throw BenchError("there is nothing to report in \(runs.joined(separator: ", "))") }
        let document = into + "/BENCHMARKS.md", charts = into + "/benchmarks"
        var text = MarkedText((try? String(contentsOfFile: document, encoding: .utf8)) ?? "# Benchmarks\n")
        try FileManager.default.createDirectory(atPath: charts, withIntermediateDirectories: true)
        for section in sections {
            for chart in section.charts {
                try Data(chart.svg.utf8).write(to: URL(filePath: "\(charts)/\(chart.name).svg"), options: .atomic)
                print("\(charts)/\(chart.name).svg")
            }
            try text.put(section.text, at: section.name)
        }
        try Data(text.text.utf8).write(to: URL(filePath: document), options: .atomic)
        print(document + ": " + sections.map(\.name).joined(separator: ", "))
    }

    private func read(_ path: String) throws -> Data {
        do { return try Data(contentsOf: URL(filePath: path)) } catch {
            throw BenchError("cannot read \(path): \(error.localizedDescription)")
        }
    }
}
