internal import Glibc

/// A process that answers requests with one line each; started when it is first asked, and again where it ended.
final class LineProcess {
    private let command: [String]
    private let environment: [String: String]
    private let seconds: Int32
    private var pid: pid_t = 0
    private var input: Int32 = -1
    private var output: Int32 = -1
    private var buffer: [UInt8] = []
    /// How it ended last.
    private(set) var lastEnd = "was not started"

    /// An answer that takes longer than `seconds` is a hang: the process is killed.
    init(_ command: [String], environment: [String: String] = [:], seconds: Int32 = 60) {
        self.command = command
        self.environment = environment
        self.seconds = seconds
    }

    deinit { end() }

    /// The answer's line, without its end; nil where the process ended instead, as `lastEnd` says. `meanwhile` is called before it is
    /// waited for.
    func ask(_ request: String, meanwhile: () throws(LabError) -> Void = { () throws(LabError) in }) throws(LabError) -> String? {
        if pid == 0 { try start() }
        guard send(Array(request.utf8)) else { return ended() }
        try meanwhile()
        while true {
            if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                let answer = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeSubrange(...end)
                return answer
            }
            var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            if poll(&waiting, 1, seconds * 1000) == 0 {
                kill(pid, SIGKILL)
                _ = ended()
                lastEnd = "did not answer within \(seconds) s"
                return nil
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
        // What is written to a process that is gone shows as an error.
        signal(SIGPIPE, SIG_IGN)
        let child = try Spawn.start(command, environment: environment, hasInput: true)
        pid = child.pid
        input = child.input
        output = child.output
        buffer = []
    }

    private func ended() -> String? {
        closePipes()
        lastEnd = Spawn.wait(pid) ?? "ended without an answer"
        pid = 0
        return nil
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
