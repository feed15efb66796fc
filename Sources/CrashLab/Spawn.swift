internal import Glibc
internal import Synchronization

/// Starting processes that we talk with.
enum Spawn {
    struct Child {
        var pid: pid_t
        /// What it reads; -1 where that is what ours is.
        var input: Int32
        /// What it prints.
        var output: Int32
    }

    /// One at a time: a process that started between a pipe and its mark would hold its ends, and their end would not show.
    private static let starting = Mutex(())

    /// Starts a program whose output, and where `hasInput` its input, are ours, with variables besides ours.
    /// `isQuiet`: what it complains of is dropped.
    static func start(
        _ command: [String], environment: [String: String] = [:], hasInput: Bool, isQuiet: Bool = false
    ) throws(LabError) -> Child {
        try starting.withLock { (_) throws(LabError) in
            let (output, childOutput) = try pipe()
            defer { close(childOutput) }
            var input: Int32 = -1, childInput: Int32 = -1
            defer { if childInput >= 0 { close(childInput) } }
            do throws(LabError) {
                if hasInput { (childInput, input) = try pipe() }
                let descriptors = [(childOutput, STDOUT_FILENO)] + (hasInput ? [(childInput, STDIN_FILENO)] : [])
                return Child(pid: try start(command, environment, descriptors, isQuiet), input: input, output: output)
            } catch {
                close(output)
                if input >= 0 { close(input) }
                throw error
            }
        }
    }

    /// (to read from, to write to), both closed in programs that are started.
    private static func pipe() throws(LabError) -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        guard Glibc.pipe(&ends) == 0 else { throw .system("a pipe could not be made") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    private static func start(
        _ command: [String], _ extra: [String: String], _ descriptors: [(from: Int32, to: Int32)], _ isQuiet: Bool
    ) throws(LabError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (from, to) in descriptors { posix_spawn_file_actions_adddup2(&actions, from, to) }
        if isQuiet { posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) }
        // What our thread does not listen to is no matter of theirs: they are to end when they are told to.
        var attributes = posix_spawnattr_t(), none = sigset_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        // A report of a program that meets a bad image helps nobody.
        var environment = extra
        environment["SWIFT_BACKTRACE"] = "enable=no"
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
        let code = posix_spawnp(&pid, command[0], &actions, &attributes, &argv, &envp)
        guard code == 0 else { throw LabError("\(command[0]) can't be started: \(String(cString: strerror(code)))") }
        return pid
    }

    /// Runs a program to its end, and drops what it prints; nil where it ended well, else how it ended.
    static func run(_ command: [String], environment: [String: String] = [:], isQuiet: Bool = false) throws(LabError) -> String? {
        let child = try start(command, environment: environment, hasInput: false, isQuiet: isQuiet)
        defer { close(child.output) }
        var bytes = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(child.output, &bytes, bytes.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { break }
        }
        return wait(child.pid)
    }

    /// Waits for a process' end; nil where it ended well, else how it ended.
    static func wait(_ pid: pid_t) -> String? {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7f
        if signal != 0 { return "was ended by signal \(signal) (\(String(cString: strsignal(signal))))" }
        let code = (status >> 8) & 0xff
        return code == 0 ? nil : "ended with status \(code)"
    }
}
