internal import Glibc
internal import Synchronization
public import VMTypes

/// How a program is to be started.
struct ProgramLaunch {
    /// Names the descriptor of the connection, and the socket that it is: `3:12345`.
    static let variable = "VARVE_TASK"

    var executable: String
    var arguments: [String]
    var environment: [String: String]?
    var descriptors: [Int32: Int32]

    /// Starts it, with a copy of `socket`.
    func start(connectedBy socket: Int32) throws(StoreError) -> SpawnedProgram {
        // Above all numbers that the program is to see: a copy overwrites no source of another.
        var own: Int32 = 3
        while descriptors[own] != nil || Self.isInherited(own) { own += 1 }
        let above = max(descriptors.keys.max() ?? 0, own) + 1
        var copies: [(target: Int32, source: Int32)] = []
        defer { for copy in copies { close(copy.source) } }
        for (target, source) in descriptors.map({ ($0.key, $0.value) }) + [(own, socket)] {
            let copy = fcntl(source, F_DUPFD_CLOEXEC, above)
            guard copy >= 0 else { throw failure("give descriptor \(source) to", errno) }
            copies.append((target, copy))
        }
        var actions = posix_spawn_file_actions_t()
        guard posix_spawn_file_actions_init(&actions) == 0 else { throw failure("start", ENOMEM) }
        defer { posix_spawn_file_actions_destroy(&actions) }
        for copy in copies {
            let code = posix_spawn_file_actions_adddup2(&actions, copy.source, copy.target)
            guard code == 0 else { throw failure("give descriptor \(copy.target) to", code) }
        }
        var status = stat()
        guard fstat(socket, &status) == 0 else { throw failure("connect", errno) }
        var variables = environment ?? Self.inheritedEnvironment
        variables[Self.variable] = "\(own):\(status.st_ino)"
        let lines = variables.map { "\($0.key)=\($0.value)" }
        var id: pid_t = 0
        let code = Self.withCStrings([executable] + arguments) { arguments in
            Self.withCStrings(lines) { posix_spawn(&id, executable, &actions, nil, arguments, $0) }
        }
        guard code == 0 else { throw failure("start", code) }
        return SpawnedProgram(id: id)
    }

    /// What is open and not closed on exec is the program's, under its number.
    private static func isInherited(_ descriptor: Int32) -> Bool {
        let flags = fcntl(descriptor, F_GETFD)
        return flags >= 0 && flags & FD_CLOEXEC == 0
    }

    private func failure(_ what: String, _ code: Int32) -> StoreError {
        let isShortage = [EAGAIN, ENOMEM, EMFILE, ENFILE].contains(code)
        return StoreError(
            isShortage ? .full : .invalid, "Can't \(what) the program '\(executable)': \(String(cString: strerror(code)))",
            advice: isShortage ? "Try again when there is less going on" : "Give the path of a program, and descriptors that are open",
            errno: code)
    }

    private static var inheritedEnvironment: [String: String] {
        var found: [String: String] = [:]
        var next = environ
        while let line = next.pointee {
            let text = String(cString: line)
            if let equals = text.firstIndex(of: "=") { found[String(text[..<equals])] = String(text[text.index(after: equals)...]) }
            next += 1
        }
        return found
    }

    private static func withCStrings<Result>(
        _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
    ) -> Result {
        let copies = strings.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        return body(copies + [nil])
    }
}

/// A program that was started with a task's memory. Thread-safe.
public final class SpawnedProgram: Sendable {
    /// How a program ended.
    public enum Ending: Hashable, Sendable {
        case exited(Int32)
        /// By a signal.
        case killed(Int32)
    }

    /// The number of its process.
    public let id: Int32
    private let ending = Mutex<Ending?>(nil)

    init(id: Int32) { self.id = id }

    /// Waits for its end. Somebody has to, or the process stays as a zombie; later calls answer the same.
    ///
    /// - Throws: `.wrongState` where somebody else in this process has waited for it.
    public func wait() throws(StoreError) -> Ending {
        try ending.withLock { ending throws(StoreError) in
            if let ending { return ending }
            var status: Int32 = 0
            while waitpid(id, &status, 0) < 0 {
                guard errno == EINTR else {
                    throw StoreError(.wrongState, "Process \(id) is no child that is to be waited for", errno: errno)
                }
            }
            let made = status & 0x7f == 0 ? Ending.exited(status >> 8 & 0xff) : .killed(status & 0x7f)
            ending = made
            return made
        }
    }
}
