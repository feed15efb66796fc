import Foundation

/// Prints named times, as a table or as a line of JSON each.
struct TimesReport {
    let json: Bool

    private struct Row: Encodable {
        let benchmark: String
        let name: String
        let count: Int
        let medianUs: Double
        let p99Us: Double
        let maximumUs: Double
    }

    private struct Head: Encodable {
        let machine: Machine
        let objectBytes: Int
        let pageWrites: Int
    }

    func begin(_ machine: Machine, _ object: AgedObject) {
        if json {
            JSONLine.print(Head(machine: machine, objectBytes: object.pageCount * 4096, pageWrites: object.pageWrites))
        } else {
            print(
                """
                Linux \(machine.kernel), \(machine.processors) processors, \(machine.fileSystem) on \(machine.source), \
                \(machine.date), object of \(object.pageCount / 256) MiB after \(object.pageWrites) random page writes
                """)
        }
    }

    func print(_ benchmark: String, _ rows: [(name: String, times: Times)]) {
        if !json {
            print("\n" + benchmark)
            print(cells("", ["median µs", "p99 µs", "max µs", "runs"]))
        }
        for (name, times) in rows {
            let numbers = [times.median, times.p99, times.maximum].map { $0 * 1e6 }
            if json {
                JSONLine.print(
                    Row(
                        benchmark: benchmark, name: name, count: times.count, medianUs: numbers[0], p99Us: numbers[1],
                        maximumUs: numbers[2]))
            } else {
                print(cells(name, numbers.map { String(format: $0 < 100 ? "%.1f" : "%.0f", $0) } + ["\(times.count)"]))
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
