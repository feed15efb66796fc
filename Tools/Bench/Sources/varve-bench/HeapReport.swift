import Foundation

/// Prints what `varve-bench heap` measured, as tables or as a line of JSON for each engine.
struct HeapReport {
    let json: Bool

    private struct Head: Encodable {
        let machine: Machine
        let entries: Int
    }

    private struct Row: Encodable {
        let benchmark: String
        let engine: String
        let medianNs: Double
        let meanNs: Double
        let ratio: Double?
    }

    private struct Opening: Encodable {
        let benchmark = "reopen"
        let name: String
        let medianUs: Double
        let p99Us: Double
    }

    func begin(_ machine: Machine, entries: Int) {
        guard !json else { return JSONLine.print(Head(machine: machine, entries: entries)) }
        print(
            """
            Linux \(machine.kernel), \(machine.processors) processors, \(machine.fileSystem) on \(machine.source), \
            \(machine.date), \(entries) entries
            """)
    }

    func measured(_ benchmark: String, _ times: [OperationTimes], reference: String) {
        let base = times.first { $0.engine == reference }?.mean
        if !json { print("\n\(benchmark)\n\(cells("engine", ["median ns", "mean ns", "× \(reference)"]))") }
        for time in times {
            let ratio = base.map { time.mean / $0 }
            if json {
                JSONLine.print(Row(benchmark: benchmark, engine: time.engine, medianNs: time.median, meanNs: time.mean, ratio: ratio))
            } else {
                print(cells(time.engine, [time.median, time.mean].map { String(format: "%.0f", $0) } + [ratio.map { String(format: "%.3g", $0) } ?? "–"]))
            }
        }
        fflush(nil)
    }

    func reopened(_ times: [(name: String, times: Times)]) {
        if !json { print("\nreopening\n\(cells("", ["median µs", "p99 µs"]))") }
        for (name, times) in times {
            if json {
                JSONLine.print(Opening(name: name, medianUs: times.median * 1e6, p99Us: times.p99 * 1e6))
            } else {
                print(cells(name, [times.median, times.p99].map { String(format: "%.0f", $0 * 1e6) }))
            }
        }
    }

    private func cells(_ name: String, _ cells: [String]) -> String {
        name.padding(toLength: 34, withPad: " ", startingAt: 0)
            + cells.map { String(repeating: " ", count: max(12 - $0.count, 1)) + $0 }.joined()
    }
}
