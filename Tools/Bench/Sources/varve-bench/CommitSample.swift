/// The commits of one engine with one number of pages.
struct CommitSample {
    private var latencies: [UInt64] = []
    private var processBytes: UInt64 = 0
    private var deviceBytes: UInt64? = 0

    var commits: Int { latencies.count }

    mutating func add(_ batch: Batch, deviceBytes written: UInt64?) {
        latencies += batch.latencies
        processBytes += batch.bytesWritten
        deviceBytes = deviceBytes.flatMap { sum in written.map { sum + $0 } }
    }

    var median: Double { quantile(0.5) }
    var medianSeconds: Double { median / 1e6 }
    var p99: Double { quantile(0.99) }
    var mean: Double { Double(latencies.reduce(0, +)) / Double(commits) / 1000 }
    var deviceBytesPerCommit: Double? { deviceBytes.map { Double($0) / Double(commits) } }
    var processBytesPerCommit: Double { Double(processBytes) / Double(commits) }

    /// What a report shows of the distribution.
    static let reportedQuantiles = [0.5, 0.9, 0.99, 0.999, 1]

    var quantiles: [Double] {
        let sorted = latencies.sorted()
        return Self.reportedQuantiles.map { Self.quantile($0, of: sorted) }
    }

    private func quantile(_ q: Double) -> Double { Self.quantile(q, of: latencies.sorted()) }

    /// In microseconds, by the nearest rank.
    private static func quantile(_ q: Double, of sorted: [UInt64]) -> Double {
        Double(sorted[max(Int((q * Double(sorted.count)).rounded(.up)), 1) - 1]) / 1000
    }
}
