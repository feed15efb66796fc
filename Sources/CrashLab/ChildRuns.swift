internal import Glibc

/// Runs of an adapter's work and recovery in processes that may be killed: a server that forks them ready-made, or that starts
/// the program for each.
final class ChildRuns {
    enum End: Equatable, CustomStringConvertible {
        case status(Int32)
        case signal(Int32)
        /// It was not to be killed, and did not end.
        case hang

        var description: String {
            switch self {
            case .status(let code): "ended with status \(code)"
            case .signal(let number): "was ended by signal \(number) (\(String(cString: strsignal(number))))"
            case .hang: "did not end within 30 s"
            }
        }
    }

    struct Outcome {
        var end: End
        /// Whole lines that were printed.
        var acknowledged: [String]
        /// What it complained of.
        var errors: String
    }

    private let server: LineProcess
    private let output: String
    private var isReady = false

    /// `output` is a file of the lab's own that no other runs use.
    init(_ command: [String], environment: [String: String] = [:], output: String) {
        server = LineProcess(command, environment: environment)
        self.output = output
    }

    /// Runs one verb on a folder to its end, or to its SIGKILL after some microseconds; `meanwhile` is called when it was begun.
    func run(
        _ verb: String, _ folder: String, seed: UInt64, killAfter microseconds: Int = 0, variables: [String: String] = [:],
        meanwhile: () throws(LabError) -> Void = { () throws(LabError) in }
    ) throws(LabError) -> Outcome {
        if !isReady {
            guard try server.ask("") == "ready" else { throw LabError("the program that starts runs is not ready") }
            isReady = true
        }
        let errors = output + ".errors"
        unlink(output)
        unlink(errors)
        var request = "\(verb) \(folder) \(seed) \(output) \(microseconds)"
        for (name, value) in variables.sorted(by: { $0.key < $1.key }) { request += " \(name)=\(value)" }
        guard let line = try server.ask(request + "\n", meanwhile: meanwhile) else { throw LabError("the program that starts runs \(server.lastEnd)") }
        let words = line.split(separator: " ")
        let end: End
        switch (words.first, words.last.flatMap { Int32($0) }) {
        case ("exit", let code?): end = .status(code)
        case ("signal", let number?): end = .signal(number)
        case ("hang", _): end = .hang
        default: throw LabError("the program that starts runs says: \(line)")
        }
        let printed = access(output, F_OK) == 0 ? try LabFile.read(output) : []
        var lines = printed.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        // What follows the last line's end is none.
        lines.removeLast()
        let complaint = access(errors, F_OK) == 0 ? try LabFile.read(errors) : []
        return Outcome(end: end, acknowledged: lines, errors: String(decoding: complaint, as: UTF8.self))
    }
}
