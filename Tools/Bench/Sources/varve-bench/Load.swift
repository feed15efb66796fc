import Foundation

/// How busy the machine is with other things.
enum Load {
    /// The processors that are busy now, on average over half a second; nil where the kernel doesn't say.
    static func busyProcessors() -> Double? {
        guard let before = busyTicks() else { return nil }
        let start = ContinuousClock.now
        usleep(500_000)
        guard let after = busyTicks() else { return nil }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        return (after - before) / Double(sysconf(Int32(_SC_CLK_TCK))) / seconds
    }

    /// user, nice and system time of all processors.
    private static func busyTicks() -> Double? {
        guard let statistics = try? String(contentsOfFile: "/proc/stat", encoding: .utf8),
            let fields = statistics.split(separator: "\n").first?.split(separator: " "), fields.count > 3
        else { return nil }
        return fields[1...3].compactMap { Double($0) }.reduce(0, +)
    }
}
