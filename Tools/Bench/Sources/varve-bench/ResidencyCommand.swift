import ArgumentParser
import Foundation
import Varve

/// `varve-bench residency`: an object larger than the memory that a control group allows, written, committed and read.
struct ResidencyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "residency",
        abstract: "Write, commit, reopen and read an exclusive object in a memory control group smaller than it (needs root).")

    @Option(help: "MiB of the object.") var object = 4096
    @Option(help: "MiB of distinct pages that are written; by default all.") var written: Int?
    @Option(help: "MiB of each commit.") var commit = 16
    @Flag(help: "Write in the order of addresses rather than scattered.") var inOrder = false
    @Option(help: "Random reads and stores in the end, in commits of 256.") var random = 16_384
    @Option(help: "MiB that the control group allows; 0 for none.") var group = 1024
    @Option(help: "MiB of private memory that the store is told to keep; 0 for no limit.") var limit = 256
    @Option(help: "Where the store is made, in a fresh folder; by default TMPDIR or /var/tmp.") var dir: String?

    func run() throws {
        if group > 0 { try joinGroup() }
        defer { if group > 0 { leaveGroup() } }
        let workspace = try Workspace(under: dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp")
        defer { workspace.close() }
        let path = workspace.path + "/store"
        try Store.create(path)
        let policy = ResidencyPolicy(limit: limit > 0 ? UInt64(limit) << 20 : nil)
        let count = UInt64(object) << 8, wanted = UInt64(written ?? object) << 8
        var times = Times()
        var mostPrivate: UInt64 = 0
        let clock = ContinuousClock()
        let start = clock.now
        func seconds() -> Double { (clock.now - start) / .seconds(1) }
        /// What each page holds: 0 for zeros.
        var model = [UInt64](repeating: 0, count: Int(count))
        var store = try Store.open(path, options: .init(residency: policy))
        let task = try store.task(named: "main")
        let address = try task.map(
            size: count << 12, object: try store.createObject(named: "a", size: count << 12, residency: .exclusive))
        let begun = seconds()
        func commitNow(_ times: inout Times) throws {
            times.add(try timed { try store.commit() }.seconds)
            mostPrivate = max(mostPrivate, store.privateMemory.bytes)
            if let failure = store.privateMemory.failure { throw failure }
        }
        for index in 0..<wanted {
            let page = inOrder ? index : index &* 40_503 % count
            model[Int(page)] = 1
            fill(task.pointer(address + page << 12), page, 1)
            if index % (UInt64(commit) << 8) == UInt64(commit) << 8 - 1 { try commitNow(&times) }
        }
        try store.commit()
        let wrote = seconds()
        try check(task, address, model)
        let checked = seconds()
        var randomTimes = Times()
        var state: UInt64 = 88_172_645_463_325_252
        for index in 0..<random {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            let page = state % count
            if index & 1 == 0 {
                model[Int(page)] += 1
                fill(task.pointer(address + page << 12), page, model[Int(page)])
            } else {
                try check(task.pointer(address + page << 12), page, model[Int(page)])
            }
            if index % 512 == 511 { try commitNow(&randomTimes) }
        }
        try store.commit()
        let changed = seconds()
        try store.close()
        let closed = seconds()
        store = try Store.open(path, options: .init(residency: policy))
        let again = try store.task(named: "main")
        let opened = seconds()
        try check(again, address, model)
        let checkedAgain = seconds()
        try store.close()
        print(
            """
            object \(object) MiB, written \(written ?? object) MiB \(inOrder ? "in order" : "scattered") in commits of \(commit), group \(group) MiB, limit \(limit) MiB
            commit: median \(times.median * 1e3) ms, mean \(times.mean * 1e3) ms; writing all \(wrote - begun) s; read all \(checked - wrote) s
            \(random) random reads and stores \(changed - checked) s; commit of 256 pages: median \(randomTimes.median * 1e3) ms
            close \(closed - changed) s; open \(opened - closed) s; read all \(checkedAgain - opened) s
            private memory after a commit at most \(mostPrivate >> 20) MiB; peak of the process \(peakOfProcess()); of the group \(peakOfGroup())
            """)
    }

    private func fill(_ place: UnsafeMutableRawPointer, _ page: UInt64, _ value: UInt64) {
        let words = place.assumingMemoryBound(to: UInt64.self)
        for word in 0..<512 { words[word] = value << 48 | page << 16 | UInt64(word) }
    }

    private func check(_ place: UnsafeMutableRawPointer, _ page: UInt64, _ value: UInt64) throws {
        let words = place.assumingMemoryBound(to: UInt64.self)
        for word in 0..<512 where words[word] != (value == 0 ? 0 : value << 48 | page << 16 | UInt64(word)) {
            throw BenchError("page \(page) holds \(words[word]) at word \(word)")
        }
    }

    private func check(_ task: VMTask, _ address: UInt64, _ model: [UInt64]) throws {
        for page in 0..<UInt64(model.count) { try check(task.pointer(address + page << 12), page, model[Int(page)]) }
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

    /// An empty group can be removed.
    private func leaveGroup() {
        let above = groupPath.prefix(upTo: groupPath.lastIndex(of: "/")!)
        try? "\(getpid())".write(toFile: above + "/cgroup.procs", atomically: false, encoding: .utf8)
        rmdir(groupPath)
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
