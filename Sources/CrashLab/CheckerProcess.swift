internal import Glibc

/// A process that says of folders whether they hold what was acknowledged; started again where one ends.
///
/// It reads a line a check, `FOLDER SEED ACKNOWLEDGEMENTS`, the last in hexadecimal or `-`, and answers with one: `ok`, or what
/// is wrong. That it ends instead is a finding too.
final class CheckerProcess {
    private let command: [String]
    private var pid: pid_t = 0
    private var input: Int32 = -1
    private var output: UnsafeMutablePointer<FILE>?

    init(_ command: [String]) { self.command = command }

    deinit { end() }

    /// nil where the folder is as it must be, else what is wrong.
    func check(_ folder: String, seed: UInt64, acknowledged: [UInt8]) throws(LabError) -> String? {
        if pid == 0 { try start() }
        let line = "\(folder) \(seed) \(acknowledged.isEmpty ? "-" : Self.hexadecimal(acknowledged))\n"
        let sent = line.withCString { text in
            let count = strlen(text)
            return write(input, text, count) == count
        }
        var buffer: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(buffer) }
        guard sent, getline(&buffer, &capacity, output) > 0, let buffer else { return ended() }
        var answer = String(cString: buffer)
        while answer.last == "\n" { answer.removeLast() }
        return answer == "ok" ? nil : answer
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    private func start() throws(LabError) {
        let (childInput, input) = try Spawn.pipe()
        let (output, childOutput) = try Spawn.pipe()
        pid = try Spawn.start(command, environment: [:], descriptors: [(childInput, 0), (childOutput, 1)])
        close(childInput)
        close(childOutput)
        self.input = input
        self.output = fdopen(output, "r")
    }

    /// What the process says with its end.
    private func ended() -> String {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        pid = 0
        end()
        let signal = status & 0x7f
        return signal != 0 ? "the checker was ended by signal \(signal)" : "the checker ended with status \((status >> 8) & 0xff)"
    }

    private func end() {
        if input >= 0 { close(input) }
        input = -1
        if let output { fclose(output) }
        output = nil
        if pid > 0 { waitpid(pid, nil, 0) }
        pid = 0
    }
}

/// Starting processes with chosen descriptors.
enum Spawn {
    /// (to read from, to write to), both closed in programs that are started.
    static func pipe() throws(LabError) -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        guard Glibc.pipe(&ends) == 0 else { throw LabError("no pipe: \(String(cString: strerror(errno)))") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    /// Starts a program whose descriptors are `to` where ours are `from`, with variables besides ours.
    static func start(_ command: [String], environment: [String: String], descriptors: [(from: Int32, to: Int32)]) throws(LabError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (from, to) in descriptors { posix_spawn_file_actions_adddup2(&actions, from, to) }
        var variables: [String] = []
        var next = environ
        while let variable = next.pointee {
            let text = String(cString: variable)
            if !environment.keys.contains(where: { text.hasPrefix($0 + "=") }) { variables.append(text) }
            next += 1
        }
        variables += environment.map { "\($0.key)=\($0.value)" }
        var argv: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, command[0], &actions, nil, &argv, &envp)
        guard code == 0 else { throw LabError("\(command[0]) can't be started: \(String(cString: strerror(code)))") }
        return pid
    }
}
