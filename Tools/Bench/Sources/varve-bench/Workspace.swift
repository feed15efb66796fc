import Foundation
import Synchronization

/// A fresh folder for the engines' data, and the engines' processes; nothing of either is left at the end, nor
/// after SIGINT, SIGTERM or SIGHUP.
final class Workspace: Sendable {
    let path: String
    private let children = Mutex<Set<pid_t>>([])
    private let signals = Mutex<[any DispatchSourceSignal]>([])

    init(under parent: String) throws {
        var template = Array("\(parent)/varve-bench.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw BenchError("cannot make a folder in \(parent): \(String(cString: strerror(errno)))")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        signal(SIGPIPE, SIG_IGN)
        signals.withLock { $0 = [SIGINT, SIGTERM, SIGHUP].map(cleanUpSource) }
    }

    func makeFolder(_ name: String) throws -> String {
        let folder = "\(path)/\(name)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        return folder
    }

    func removeFolder(_ name: String) {
        try? FileManager.default.removeItem(atPath: "\(path)/\(name)")
    }

    func adopt(_ pid: pid_t) {
        _ = children.withLock { $0.insert(pid) }
    }

    /// Kills a child and waits for its end.
    func end(_ pid: pid_t) {
        children.withLock { children in
            guard children.remove(pid) != nil else { return }
            kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
        }
    }

    /// Ends every child and removes the folder.
    func close() {
        children.withLock { endAll(&$0) }
    }

    private func endAll(_ children: inout Set<pid_t>) {
        for pid in children { kill(pid, SIGKILL) }
        for pid in children { waitpid(pid, nil, 0) }
        children = []
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The lock stays held to the end of the process, so that nobody starts or reports anything meanwhile.
    private func cleanUpSource(_ number: Int32) -> any DispatchSourceSignal {
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { [self] in
            children.withLock { children in
                endAll(&children)
                exit(128 + number)
            }
        }
        source.activate()
        return source
    }
}
