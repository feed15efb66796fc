internal import Glibc

/// A process that says of folders whether they hold what was acknowledged, one after the other; started again where it ends.
final class CheckerProcess {
    private let command: [String]
    private let seconds: Int32
    private var pid: pid_t = 0
    private var input: Int32 = -1
    private var output: Int32 = -1
    private var buffer: [UInt8] = []

    /// A check that takes longer than `seconds` is a hang, which is a finding.
    init(_ command: [String], seconds: Int32 = 60) {
        self.command = command
        self.seconds = seconds
    }

    deinit { end() }

    /// nil where the folder is as it must be, else what is wrong.
    func check(_ folder: String, seed: UInt64, acknowledged: [String]) throws(LabError) -> String? {
        if pid == 0 { try start() }
        var request = Array("\(folder) \(seed) \(acknowledged.count)\n".utf8)
        for line in acknowledged {
            request += line.utf8
            request.append(UInt8(ascii: "\n"))
        }
        guard send(request) else { return ended() }
        while true {
            if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                let answer = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeSubrange(...end)
                return answer == "ok" ? nil : answer
            }
            var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            if poll(&waiting, 1, seconds * 1000) == 0 {
                kill(pid, SIGKILL)
                _ = ended()
                return "the checker did not answer within \(seconds) s"
            }
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = read(output, &chunk, chunk.count)
            if count > 0 { buffer += chunk[..<count] } else if count == 0 || errno != EINTR { return ended() }
        }
    }

    private func send(_ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(input, $0.baseAddress! + done, bytes.count - done) }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return false }
            done += count
        }
        return true
    }

    private func start() throws(LabError) {
        // What is written to a checker that is gone shows as an error.
        signal(SIGPIPE, SIG_IGN)
        let child = try Spawn.start(command, hasInput: true)
        pid = child.pid
        input = child.input
        output = child.output
        buffer = []
    }

    /// What the process says with its end.
    private func ended() -> String {
        closePipes()
        defer { pid = 0 }
        return "the checker \(Spawn.wait(pid) ?? "ended without an answer")"
    }

    private func closePipes() {
        if input >= 0 { close(input) }
        if output >= 0 { close(output) }
        input = -1
        output = -1
    }

    /// Ends the process: it has nothing more to read.
    func end() {
        closePipes()
        if pid > 0 { _ = Spawn.wait(pid) }
        pid = 0
    }
}
