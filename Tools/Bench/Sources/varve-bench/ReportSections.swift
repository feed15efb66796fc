import Foundation

/// What a run is to show: a text with tables for each kind of benchmark, and charts.
struct ReportSections {
    struct Section {
        var name: String
        var text: String
        var charts: [(name: String, svg: String)] = []
    }

    private let lines: RunLines

    init(_ lines: RunLines) { self.lines = lines }

    var all: [Section] {
        lines.commits.map(commits) + (lines.space.isEmpty ? [] : [space]) + lines.timedBenchmarks.map(times)
            + lines.engineBenchmarks.map(engines) + (lines.threads.isEmpty ? [] : [threads]) + Set(lines.growth.map(\.growth)).sorted().map(growth)
    }

    private var threads: Section {
        let names = lines.threads.map(\.engine).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
        let counts = Set(lines.threads.map(\.threads)).sorted()
        let text = "\(lines.machines["threads"]?.text ?? ""). Synced commits of one page a second, of all threads together, and their ratio to one thread's:\n\n"
            + Self.table(["threads"] + names, counts.map { count in
                ["\(count)"] + names.map { name in
                    lines.threads.last { $0.engine == name && $0.threads == count }
                        .map { Self.whole($0.commitsPerSecond) + String(format: " (%.2f)", $0.ratioToOneThread) } ?? "–"
                }
            })
        return Section(name: "threads", text: text)
    }

    // MARK: Commits

    private func commits(_ run: RunLines.Commits) -> Section {
        let choice = run.head.choice ?? "uniform", bytes = run.head.bytesOfPage ?? 4096
        let name = "commit-\(choice)" + (bytes == 4096 ? "" : "-\(bytes)")
        let counts = run.pageCounts
        let heads = counts.map { "k = \($0.formatted(.number.locale(.init(identifier: "en_US"))))" }
        func table(_ title: String, _ cell: (RunLines.CommitRow) -> String) -> String {
            "\(title)\n\n" + Self.table(["engine"] + heads, run.engines.map { engine in
                [engine] + counts.map { run.row(engine, $0).map(cell) ?? "–" }
            })
        }
        let size = (run.head.objectBytes ?? 0) >> 20
        var text = """
            \(run.head.machine.text); object of \(size) MiB, pages chosen: \(choice)\
            \(bytes == 4096 ? "" : ", \(bytes) bytes of each changed by Varve's engines").

            ![cost of a commit](benchmarks/\(name).svg)


            """
        text += table("Median of a commit in µs, and its ratio to pwrite in place + fdatasync:") { row in
            Self.whole(row.medianUs) + (row.ratioToPwrite.map { String(format: " (%.2f)", $0) } ?? "")
        }
        text += "\n" + table("99th percentile / mean in µs:") { Self.whole($0.p99Us) + " / " + Self.whole($0.meanUs) }
        text += "\n" + table("KiB that the device wrote for a commit:") { row in row.bytesPerCommit.map { Self.whole($0 / 1024) } ?? "–" }
        var charts = [(name: name, svg: cost(run, choice).svg())]
        if run.rows.contains(where: { $0.quantilesUs != nil }) {
            text += "\n![latency percentiles](benchmarks/\(name)-percentiles.svg)\n"
            charts.append((name: name + "-percentiles", svg: percentiles(run).svg()))
        }
        return Section(name: name, text: text, charts: charts)
    }

    private func isOurs(_ engine: String) -> Bool { engine.hasPrefix("varve") }

    private func cost(_ run: RunLines.Commits, _ choice: String) -> LineChart {
        LineChart(
            title: "Commit of k random pages (\(choice)), median", xTitle: "k, pages a commit", yTitle: "µs",
            isLogX: true, isLogY: true, xTicks: run.pageCounts.map { .init(at: Double($0), text: "\($0)") },
            panels: [
                .init(lines: run.engines.map { engine in
                    .init(
                        name: engine, points: run.pageCounts.compactMap { k in run.row(engine, k).map { (Double(k), $0.medianUs) } },
                        isOurs: isOurs(engine), isDashed: engine == "log")
                })
            ])
    }

    private func percentiles(_ run: RunLines.Commits) -> LineChart {
        LineChart(
            title: "Latency of commits by percentile", xTitle: "percentile", yTitle: "µs", isLogY: true,
            xTicks: zip(0..., CommitSample.reportedQuantiles).map { .init(at: Double($0), text: $1 == 1 ? "max" : String(format: "%g", $1 * 100)) },
            panels: run.pageCounts.map { k in
                .init(title: "k = \(k)", lines: run.engines.compactMap { engine in
                    guard let row = run.row(engine, k), let quantiles = row.quantilesUs else { return nil }
                    return .init(
                        name: engine, points: quantiles.enumerated().map { (Double($0), $1) }, isOurs: isOurs(engine),
                        isDashed: engine == "log")
                })
            })
    }

    // MARK: Space

    private var space: Section {
        let rows = lines.space.map { row in
            [row.run, "\(row.k)"]
                + [row.journalAmplification, row.lifetimeAmplification, row.meanUsed, row.mostUsed, row.file, row.disk]
                .map { String(format: "%.2f", $0) } + [row.medianUs, row.p99Us, row.meanUs].map(Self.whole)
        }
        let first = lines.space[0]
        let most = lines.space.map { $0.committedBytes / $0.heapBytes }.max() ?? 1
        let chart = LineChart(
            title: "Space in use while random pages are written", xTitle: "bytes written, in sizes of the heap",
            yTitle: "bytes in use, in sizes of the heap", xTicks: (0...most).map { .init(at: Double($0), text: "\($0)") },
            panels: [
                .init(lines: lines.space.map { row in
                    let step = Double(row.committedBytes) / Double(row.heapBytes) / Double(max(row.usedOverTime.count - 1, 1))
                    return .init(
                        name: row.run, points: row.usedOverTime.enumerated().map { (Double($0) * step, $1) },
                        isOurs: row.run == "alone")
                })
            ])
        return Section(
            name: "space",
            text: """
                \(lines.machines["space"]?.text ?? ""); heap of \(first.heapBytes >> 20) MiB. Bytes written to the bytes committed; space to \
                the heap's bytes; a commit in µs.

                ![space over time](benchmarks/space.svg)

                \(Self.table(["", "k", "journal", "lifetime", "used: mean", "most", "file", "disk", "median", "99th", "mean"], rows))
                """,
            charts: [("space", chart.svg())])
    }

    // MARK: Others

    private func times(_ benchmark: String) -> Section {
        let rows = lines.times.filter { $0.benchmark == benchmark }.map { [$0.name, Self.short($0.medianUs), Self.short($0.p99Us), $0.count.map { "\($0)" } ?? "–"] }
        return Section(
            name: benchmark.replacingOccurrences(of: " ", with: "-"),
            text: "\(lines.machines[benchmark]?.text ?? ""). \(benchmark), in µs:\n\n" + Self.table(["", "median", "99th", "runs"], rows))
    }

    private func engines(_ benchmark: String) -> Section {
        let rows = lines.engines.filter { $0.benchmark == benchmark }.map { row in
            [row.engine, Self.whole(row.medianNs), Self.whole(row.meanNs), row.ratio.map { String(format: "%.3g", $0) } ?? "–"]
        }
        return Section(
            name: benchmark.replacingOccurrences(of: " ", with: "-"),
            text: "\(lines.machines[benchmark]?.text ?? ""). \(benchmark), an operation in ns:\n\n"
                + Self.table(["engine", "median", "mean", "ratio of means"], rows))
    }

    private func growth(_ growth: String) -> Section {
        let rows = lines.growth.filter { $0.growth == growth }
        let sizes = rows.first?.sizes ?? []
        return Section(
            name: "growth-" + growth.replacingOccurrences(of: " ", with: "-"),
            text: "\(lines.machines["growth"]?.text ?? ""). Medians in µs against the number of \(growth):\n\n"
                + Self.table([""] + sizes.map { "\($0)" }, rows.map { [$0.operation] + $0.medianUs.map(Self.short) }))
    }

    // MARK: Text

    private static func table(_ head: [String], _ rows: [[String]]) -> String {
        ([head, head.map { _ in "---" }] + rows).map { "| " + $0.joined(separator: " | ") + " |\n" }.joined()
    }

    private static func whole(_ value: Double) -> String {
        value.formatted(.number.locale(.init(identifier: "en_US")).precision(.fractionLength(0)))
    }

    private static func short(_ value: Double) -> String { value < 100 ? String(format: "%.1f", value) : whole(value) }
}
