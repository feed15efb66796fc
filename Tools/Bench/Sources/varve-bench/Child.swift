import Foundation

/// A child process in a process group of its own, with pipes to its standard input and output.
///
/// Start it on the main thread: the engines ask the kernel to end them with the thread that started them.
struct Child {
    let pid: pid_t
    let input: Int32
    let output: Int32

    init(executable: String, arguments: [String], errorsTo path: String) throws {
        let (childInput, input) = try Child.closedOnExecPipe()
        let (output, childOutput) = try Child.closedOnExecPipe()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, childInput, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, childOutput, STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
            close(childInput)
            close(childOutput)
        }

        var argv: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
        argv.append(nil)
        defer { for argument in argv { free(argument) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, executable, &actions, &attributes, argv, environ)
        guard code == 0 else {
            close(input)
            close(output)
            throw BenchError("cannot start \(executable): \(String(cString: strerror(code)))")
        }
        self.pid = pid
        self.input = input
        self.output = output
    }

    /// (where to read, where to write)
    private static func closedOnExecPipe() throws -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw BenchError("no pipe: \(String(cString: strerror(errno)))") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }
}
