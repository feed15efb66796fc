/// The least of what a finding needs, as far as it can be found in a short time.
enum Least {
    /// How long one finding may be tried for.
    static var patience: ContinuousClock.Instant { .now + .seconds(2) }

    /// What two findings share that differ in their numbers only.
    static func kind(of finding: String) -> String {
        var kind = ""
        for character in finding where !(character.isNumber && kind.last == "#") { kind.append(character.isNumber ? "#" : character) }
        return kind
    }

    /// Those of `elements` without any of which, or any part of a row of which, `isWrong` is false; more where the time is over.
    ///
    /// Leaves out ever smaller parts (Zeller's delta debugging). All of them together must be wrong.
    static func of<Element>(
        _ elements: [Element], until end: ContinuousClock.Instant, _ isWrong: ([Element]) throws(LabError) -> Bool
    ) throws(LabError) -> [Element] {
        var kept = elements
        var part = elements.count
        while part > 0 {
            var start = 0
            while start < kept.count {
                guard ContinuousClock.now < end else { return kept }
                let fewer = Array(kept[..<start] + kept[min(start + part, kept.count)...])
                if try isWrong(fewer) { kept = fewer } else { start += part }
            }
            part = part == 1 ? 0 : (part + 1) / 2
        }
        return kept
    }

    /// The smallest number below `count` of which it is true, or `count`; of which it must be.
    static func number(
        below count: Int, until end: ContinuousClock.Instant, _ isWrong: (Int) throws(LabError) -> Bool
    ) throws(LabError) -> Int {
        for number in 0..<count {
            guard ContinuousClock.now < end else { break }
            if try isWrong(number) { return number }
        }
        return count
    }
}
