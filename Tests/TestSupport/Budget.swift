import Foundation

/// How much the randomized tests do: `VARVE_TEST_BUDGET` is `quick` or `full`; between them, the default.
public enum Budget {
    public static let name = ProcessInfo.processInfo.environment["VARVE_TEST_BUDGET"] ?? "default"

    public static func of(quick: Int, default normal: Int, full: Int) -> Int {
        name == "quick" ? quick : name == "full" ? full : normal
    }
}
