internal import Varve

/// What is wrong with a store after a crash.
struct CrashlabViolation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// What the acknowledgements say: lines `LAST DURABLE` of the work, `recovered LAST` of the process that came after the first cut, and
/// its `more LAST DURABLE`.
struct CrashlabPromises {
    /// The last version after each step of the work.
    private(set) var work: [Version] = []
    private(set) var recovered: Version?
    /// The versions that were made after the recovery.
    private(set) var extras: [Version] = []
    /// The last version that no power cut may take.
    private(set) var durable = Version.zero

    init(_ lines: [String]) throws {
        for line in lines {
            let words = line.split(separator: " ")
            let numbers = words.compactMap { UInt64($0) }.map { Version($0) }
            guard let last = numbers.last else { throw CrashlabViolation("the lab sent '\(line)'") }
            durable = max(durable, last)
            switch words[0] {
            case "recovered": recovered = last
            case "more": extras.append(numbers[0])
            default: work.append(numbers[0])
            }
        }
    }
}
