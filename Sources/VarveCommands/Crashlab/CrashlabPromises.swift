internal import Varve

/// What is wrong with a store after a crash.
struct CrashlabViolation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// What the acknowledgements say: lines `LAST DURABLE` of the work, and of each process that came after a cut or a kill `recovered
/// LAST`, and its `more LAST DURABLE`.
struct CrashlabPromises {
    /// A process that recovered the store and went on.
    struct Recovery {
        var found: Version
        /// The versions that it made.
        var extras: [Version] = []
    }

    /// The last version after each step of the work.
    private(set) var work: [Version] = []
    private(set) var recoveries: [Recovery] = []
    /// The last version that no power cut may take.
    private(set) var durable = Version.zero

    init(_ lines: [String]) throws {
        for line in lines {
            let words = line.split(separator: " ")
            let numbers = words.compactMap { UInt64($0) }.map { Version($0) }
            guard let last = numbers.last else { throw CrashlabViolation("the lab sent '\(line)'") }
            durable = max(durable, last)
            switch words[0] {
            case "recovered": recoveries.append(Recovery(found: last))
            case "more" where !recoveries.isEmpty: recoveries[recoveries.count - 1].extras.append(numbers[0])
            default: work.append(numbers[0])
            }
        }
    }
}
