import Foundation

/// A table for each number of pages.
struct TableReport: CommitReport {
    func begin(machine: Machine, objectBytes: Int, choice: PageChoice, bytesOfPage: Int) {
        print(
            """
            Linux \(machine.kernel), \(machine.processors) processors, \(machine.fileSystem) on \(machine.source), \
            \(machine.date), object of \(objectBytes >> 20) MiB, pages chosen: \(choice.rawValue)\
            \(bytesOfPage == 4096 ? "" : ", \(bytesOfPage) bytes of each changed by Varve's engines")
            ratio: median over that of \(EngineCatalog.reference); KiB a commit: written by the device
            """)
    }

    func progress(_ text: String) {
        StandardError.progress(text)
    }

    func measured(pages: Int, _ samples: [(engine: String, sample: CommitSample)]) {
        StandardError.progress("")
        print("\nk = \(pages)")
        print(row("engine", ["median µs", "p99 µs", "mean µs", "KiB a commit", "ratio", "commits"]))
        for (engine, sample) in samples {
            let cells = [
                number(sample.median), number(sample.p99), number(sample.mean),
                sample.deviceBytesPerCommit.map { number($0 / 1024) } ?? "–",
                ratio(sample, in: samples).map { $0.formatted(.bench.precision(.fractionLength(2))) } ?? "–",
                number(Double(sample.commits)),
            ]
            print(row(engine, cells))
        }
        fflush(nil)
    }

    private func number(_ value: Double) -> String {
        value.formatted(.bench.precision(.fractionLength(0)))
    }

    private func row(_ name: String, _ cells: [String]) -> String {
        name.padding(toLength: 14, withPad: " ", startingAt: 0)
            + cells.map { String(repeating: " ", count: max(14 - $0.count, 1)) + $0 }.joined()
    }
}

extension FormatStyle where Self == FloatingPointFormatStyle<Double> {
    fileprivate static var bench: Self { Self(locale: Locale(identifier: "en_US")) }
}
