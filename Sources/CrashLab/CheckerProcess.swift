/// A process that says of folders whether they hold what was acknowledged, one after the other; started again where it ends.
final class CheckerProcess {
    private let process: LineProcess

    /// A check that takes longer than `seconds` is a hang, which is a finding.
    init(_ command: [String], seconds: Int32 = 60) {
        // LMDB asks for 2 MiB of zeros at each opening: those of a fresh mapping need not be written, as those of the heap must.
        process = LineProcess(command, environment: ["MALLOC_MMAP_THRESHOLD_": "1048576"], seconds: seconds)
    }

    /// nil where the folder is as it must be, else what is wrong.
    func check(_ folder: String, seed: UInt64, acknowledged: [String]) throws(LabError) -> String? {
        var request = "\(folder) \(seed) \(acknowledged.count)\n"
        for line in acknowledged { request += line + "\n" }
        guard let answer = try process.ask(request) else { return "the checker \(process.lastEnd)" }
        return answer == "ok" ? nil : answer
    }

    /// Ends the process.
    func end() { process.end() }
}
