/// Times of one kind, in seconds.
struct Times {
    private(set) var seconds: [Double] = []

    mutating func add(_ value: Double) { seconds.append(value) }
    var count: Int { seconds.count }
    var median: Double { quantile(0.5) }
    var p99: Double { quantile(0.99) }
    var mean: Double { seconds.reduce(0, +) / Double(max(count, 1)) }
    var maximum: Double { seconds.max() ?? 0 }

    /// By the nearest rank.
    func quantile(_ q: Double) -> Double {
        guard !seconds.isEmpty else { return 0 }
        return seconds.sorted()[max(Int((q * Double(count)).rounded(.up)), 1) - 1]
    }
}

/// Runs `body` and says how long it took, in seconds.
func timed<Result>(_ body: () throws -> Result) rethrows -> (result: Result, seconds: Double) {
    let start = ContinuousClock.now
    let result = try body()
    return (result, (ContinuousClock.now - start) / .seconds(1))
}
