import Foundation

/// Prints medians against sizes, as tables or as a line of JSON for each operation.
struct GrowthReport {
    let json: Bool

    private struct Head: Encodable { let machine: Machine }

    private struct Row: Encodable {
        let growth: String
        let operation: String
        let sizes: [Int]
        let medianUs: [Double]
    }

    func begin(_ machine: Machine) {
        guard !json else { return JSONLine.print(Head(machine: machine)) }
        print(
            """
            Linux \(machine.kernel), \(machine.processors) processors, \(machine.fileSystem) on \(machine.source), \(machine.date)
            medians in µs
            """)
    }

    func print(_ growth: String, _ found: [(size: Int, rows: [(name: String, times: Times)])]) {
        guard let first = found.first else { return }
        if !json { print("\n" + cells(growth, found.map { "\($0.size)" })) }
        for (index, row) in first.rows.enumerated() {
            let medians = found.map { $0.rows[index].times.median * 1e6 }
            if json {
                JSONLine.print(Row(growth: growth, operation: row.name, sizes: found.map(\.size), medianUs: medians))
            } else {
                print(cells(row.name, medians.map { String(format: "%.0f", $0) }))
            }
        }
        fflush(nil)
    }

    private func print(_ text: String) { Swift.print(text) }

    private func cells(_ name: String, _ cells: [String]) -> String {
        name.padding(toLength: 34, withPad: " ", startingAt: 0)
            + cells.map { String(repeating: " ", count: max(12 - $0.count, 1)) + $0 }.joined()
    }
}
