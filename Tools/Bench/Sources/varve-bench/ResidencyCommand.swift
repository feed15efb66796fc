import ArgumentParser
import Foundation
import Varve

/// `varve-bench residency`: an object larger than the memory that a control group allows, written, committed and read.
struct ResidencyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "residency",
        abstract: "Write, commit, reopen and read an exclusive object in a memory control group smaller than it (needs root).")

    @Option(help: "MiB of the object.") var object = 4096
    @Option(help: "MiB of distinct pages that are written, in a scattered order.") var written = 2560
    @Option(help: "MiB of each commit.") var commit = 32
    @Option(help: "MiB that the control group allows; 0 for none.") var group = 1024
    @Option(help: "MiB of private memory that the store is told to keep; 0 for no limit.") var limit = 512
    @Option(help: "Where the store is made, in a fresh folder; by default TMPDIR or /var/tmp.") var dir: String?

    func run() throws {
        if group > 0 { try joinGroup() }
        let workspace = try Workspace(under: dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp")
        defer { workspace.close() }
        let path = workspace.path + "/store"
        try Store.create(path)
        let policy = ResidencyPolicy(limit: limit > 0 ? UInt64(limit) << 20 : nil)
        let count = UInt64(object) << 8, wanted = UInt64(written) << 8
        var times = Times()
        var mostPrivate: UInt64 = 0
        let clock = ContinuousClock()
        let start = clock.now
        func seconds() -> Double { (clock.now - start) / .seconds(1) }
        let begun = seconds()
        var store = try Store.open(path, options: .init(residency: policy))
        let task = try store.task(named: "main")
        let address = try task.map(
            size: count << 12, object: try store.createObject(named: "a", size: count << 12, residency: .exclusive))
        for index in 0..<wanted {
            fill(task.pointer(address + page(index, count) << 12), page(index, count))
            if index % (UInt64(commit) << 8) == UInt64(commit) << 8 - 1 {
                times.add(try timed { try store.commit() }.seconds)
                mostPrivate = max(mostPrivate, store.privateMemory.bytes)
            }
        }
        try store.commit()
        if let failure = store.privateMemory.failure { throw failure }
        let wrote = seconds()
        try check(task, address, count, wanted)
        let checked = seconds()
        try store.close()
        let closed = seconds()
        store = try Store.open(path, options: .init(residency: policy))
        let again = try store.task(named: "main")
        let opened = seconds()
        try check(again, address, count, wanted)
        let checkedAgain = seconds()
        try store.close()
        print(
            """
            object \(object) MiB, written \(written) MiB in commits of \(commit), group \(group) MiB, limit \(limit) MiB
            commit: median \(times.median * 1e3) ms, mean \(times.mean * 1e3) ms; writing all \(wrote - begun) s
            read all: \(checked - wrote) s; close \(closed - checked) s; open \(opened - closed) s; read all \(checkedAgain - opened) s
            private memory after a commit at most \(mostPrivate >> 20) MiB; peak of the process \(peakOfProcess()); of the group \(peakOfGroup())
            """)
    }

    /// The page that is written as the `index`-th.
    private func page(_ index: UInt64, _ count: UInt64) -> UInt64 { index &* 40_503 % count }

    private func fill(_ place: UnsafeMutableRawPointer, _ page: UInt64) {
        let words = place.assumingMemoryBound(to: UInt64.self)
        for word in 0..<512 { words[word] = page << 16 | UInt64(word) }
    }

    private func check(_ task: VMTask, _ address: UInt64, _ count: UInt64, _ wanted: UInt64) throws {
        var isWritten = [Bool](repeating: false, count: Int(count))
        for index in 0..<wanted { isWritten[Int(page(index, count))] = true }
        for page in 0..<count {
            let words = task.pointer(address + page << 12).assumingMemoryBound(to: UInt64.self)
            for word in 0..<512 where words[word] != (isWritten[Int(page)] ? page << 16 | UInt64(word) : 0) {
                throw BenchError("page \(page) holds \(words[word]) at word \(word)")
            }
        }
    }

    private var groupPath: String {
        let first = "/sys/fs/cgroup/memory"
        let base = access(first + "/memory.limit_in_bytes", F_OK) == 0 ? first : "/sys/fs/cgroup"
        return base + "/varve-bench-\(getpid())"
    }

    private func joinGroup() throws {
        guard mkdir(groupPath, 0o755) == 0 else { throw BenchError("\(groupPath) can't be made: errno \(errno)") }
        let isFirst = access(groupPath + "/memory.limit_in_bytes", F_OK) == 0
        try "\(group << 20)".write(toFile: groupPath + (isFirst ? "/memory.limit_in_bytes" : "/memory.max"), atomically: false, encoding: .utf8)
        try "\(getpid())".write(toFile: groupPath + "/cgroup.procs", atomically: false, encoding: .utf8)
    }

    private func peakOfGroup() -> String {
        guard group > 0 else { return "-" }
        for name in ["/memory.max_usage_in_bytes", "/memory.peak"] {
            if let text = try? String(contentsOfFile: groupPath + name, encoding: .utf8), let bytes = Int(text.prefix { $0.isNumber }) {
                return "\(bytes >> 20) MiB"
            }
        }
        return "-"
    }

    private func peakOfProcess() -> String {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let lines = status.split(separator: "\n").filter { $0.hasPrefix("VmHWM") || $0.hasPrefix("RssAnon") || $0.hasPrefix("VmPTE") }
        return lines.map { $0.split(separator: " ").joined(separator: " ").replacingOccurrences(of: "\t", with: " ") }
            .joined(separator: ", ")
    }
}
