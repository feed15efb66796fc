internal import Glibc

/// Moments and durations as people and programs read them.
enum Times {
    /// `2026-03-01T12:00:00.250Z`.
    static func iso8601(seconds: Double) -> String {
        let moment = Moment(seconds)
        var parts = tm()
        var time = moment.seconds
        gmtime_r(&time, &parts)
        return format(&parts, "%Y-%m-%dT%H:%M:%S") + "." + padded(moment.milliseconds) + "Z"
    }

    /// `2026-03-01 13:00:00` where the reader lives.
    static func local(seconds: Double) -> String {
        var parts = tm()
        var time = Moment(seconds).seconds
        localtime_r(&time, &parts)
        return format(&parts, "%Y-%m-%d %H:%M:%S")
    }

    /// Seconds since 1970, of nanoseconds.
    static func seconds(nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e9 }

    /// `12 µs`, `3.4 ms`, `1.2 s`.
    static func duration(_ seconds: Double) -> String {
        if seconds < 0.001 { return "\(ByteSize.fixed(seconds * 1e6, digits: 0)) µs" }
        if seconds < 1 { return "\(ByteSize.fixed(seconds * 1e3, digits: 1)) ms" }
        return "\(ByteSize.fixed(seconds, digits: 2)) s"
    }

    /// How long `body` takes.
    static func measure<Result>(_ body: () throws -> Result) rethrows -> (result: Result, seconds: Double) {
        let start = ContinuousClock.now
        let result = try body()
        let elapsed = (ContinuousClock.now - start).components
        return (result, Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18)
    }

    private struct Moment {
        let seconds: time_t
        let milliseconds: Int

        init(_ value: Double) {
            // Outside these no calendar has a year of four digits.
            let total = Int64((min(max(value, -62_135_596_800), 253_402_300_799) * 1000).rounded(.down))
            seconds = Int((total - ((total % 1000) + 1000) % 1000) / 1000)
            milliseconds = Int(((total % 1000) + 1000) % 1000)
        }
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 3 - digits.count)) + digits
    }

    private static func format(_ parts: inout tm, _ pattern: String) -> String {
        let characters = [UInt8](unsafeUninitializedCapacity: 64) { buffer, count in
            count = buffer.withMemoryRebound(to: CChar.self) { strftime($0.baseAddress!, 64, pattern, &parts) }
        }
        return String(decoding: characters, as: UTF8.self)
    }
}
