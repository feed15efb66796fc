internal import FoundationEssentials
internal import Glibc
internal import Synchronization
internal import Varve

/// A process that this one started, and what it prints.
final class ChildProcess {
    /// How a process ended.
    enum End: Hashable {
        case exit(Int32)
        case signal(Int32)
    }

    let id: Int32
    private let output: Int32
    private var buffer: [UInt8] = []
    private var end: End?

    /// One child at a time: another that started between the pipe and its mark would hold its writing end, and the end
    /// of the output would not show.
    private static let starting = Mutex(())

    /// Starts `executable`; its input is empty and its errors go where this process's go.
    init(_ executable: String, _ arguments: [String]) throws(StoreError) {
        (id, output) = try Self.starting.withLock { (_) throws(StoreError) in try Self.start(executable, arguments) }
    }

    private static func start(_ executable: String, _ arguments: [String]) throws(StoreError) -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw .system("a pipe could not be made", errno: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var files = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&files)
        defer { posix_spawn_file_actions_destroy(&files) }
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO)
        var environment = ProcessInfo.processInfo.environment
        // A crash report of a child that is meant to die helps nobody.
        environment["SWIFT_BACKTRACE"] = "enable=no"
        var process: pid_t = 0
        let failure = withStrings([executable] + arguments) { arguments in
            withStrings(environment.map { "\($0.key)=\($0.value)" }) { variables in
                posix_spawn(&process, executable, &files, nil, arguments, variables)
            }
        }
        Glibc.close(ends[1])
        guard failure == 0 else {
            Glibc.close(ends[0])
            throw .system("a process could not be started", path: executable, errno: failure)
        }
        return (process, ends[0])
    }

    deinit {
        if end == nil {
            kill()
            _ = wait()
        }
        Glibc.close(output)
    }

    /// The next line it prints, without its end; nil where there is none any more. What lacks an end is no line.
    ///
    /// Throws where it prints nothing for `seconds`.
    func line(within seconds: Int32 = 600) throws(StoreError) -> String? {
        while true {
            if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                defer { buffer.removeSubrange(...end) }
                return String(decoding: buffer[..<end], as: UTF8.self)
            }
            var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waiting, 1, seconds * 1000)
            if ready == 0 {
                throw StoreError(.io, "process \(id) has said nothing for \(seconds) s", advice: "Try again when the host is less busy")
            }
            var chunk = [UInt8](repeating: 0, count: 1 << 16)
            let count = Glibc.read(output, &chunk, chunk.count)
            if count == 0 { return nil }
            if count > 0 { buffer += chunk[..<count] } else if errno != EINTR {
                throw .system("reading from process \(id) failed", errno: errno)
            }
        }
    }

    /// Ends it by SIGKILL.
    func kill() { _ = Glibc.kill(id, SIGKILL) }

    /// Waits for its end.
    func wait() -> End {
        if let end { return end }
        var status: Int32 = 0
        while waitpid(id, &status, 0) < 0 && errno == EINTR {}
        let signal = status & 0x7f
        let result: End = signal == 0 ? .exit((status >> 8) & 0xff) : .signal(signal)
        end = result
        return result
    }

    private static func withStrings<Result>(
        _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        return pointers.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
    }
}
