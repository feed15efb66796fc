internal import Glibc

/// A store that does not hold what it must, kept in a folder of its own:
///
///     image/          the files, as they were found
///     acknowledged    what had been acknowledged, a line each
///     adapter         the command that checks, an argument a line
///     run …           where a call failed: how to perform that again (`FaultyRun`)
///     case            the seed, and for people: moment, image, finding
public struct Failure: Sendable, CustomStringConvertible {
    public var seed: UInt64
    /// What came before: where the power went, how many of the trace's events had happened (of a recovery's trace, those after
    /// `cut N, `).
    public var moment: String
    public var image: String
    public var finding: String
    /// Where it is kept.
    public var folder: String

    public var description: String { "seed \(seed), \(moment), \(image): \(finding); kept in \(folder)" }

    /// Keeps it; `write` makes the image's files in the folder that it is given.
    func keep(acknowledged: [String], check: [String], _ write: (String) throws(LabError) -> Void) throws(LabError) {
        LabFile.remove(folder)
        try LabFile.makeFolder(folder)
        try LabFile.makeFolder(folder + "/image")
        try write(folder + "/image")
        try LabFile.write(Array(acknowledged.map { $0 + "\n" }.joined().utf8), to: folder + "/acknowledged")
        try LabFile.write(Array(check.map { $0 + "\n" }.joined().utf8), to: folder + "/adapter")
        try LabFile.write(Array("\(seed)\n\(moment)\n\(image)\n\(finding)\n".utf8), to: folder + "/case")
    }

    /// Checks a kept image again, on a copy of it in `scratch`; what is wrong with it, or nil. Where a run with a failing call is kept
    /// with it, that is performed again.
    public static func reproduce(_ folder: String, scratch: String) throws(LabError) -> String? {
        guard let seed = try LabFile.lines(folder + "/case").first.flatMap(UInt64.init) else { throw LabError("\(folder)/case names no seed") }
        let command = try LabFile.lines(folder + "/adapter")
        guard !command.isEmpty else { throw LabError("\(folder)/adapter names no program") }
        let copy = "\(try LabFile.resolved(scratch))/image"
        LabFile.remove(copy)
        defer { LabFile.remove(copy) }
        var acknowledged = try LabFile.lines(folder + "/acknowledged")
        if access(folder + "/run", F_OK) == 0 {
            let again = try FaultyRun.perform(folder, seed: seed, on: copy)
            if let finding = again.finding { return finding }
            acknowledged = again.acknowledged
        } else {
            try LabFile.copy(folder + "/image", to: copy)
        }
        let answer = try CheckerProcess(command).check(copy, seed: seed, acknowledged: acknowledged)
        // What a damaged store says of itself is as it must be.
        return command.last?.hasPrefix("inspect") == true && answer.map { $0.hasPrefix("refused") || $0.hasPrefix("ok ") } == true ? nil : answer
    }
}
