import ArgumentParser
import Foundation
import Varve

/// `varve-bench faults`: what the kernel charges for first stores and first loads, beside plain mappings of a file.
struct FaultsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "faults",
        abstract: "Time first stores after a commit, and first loads from a cold page cache (root), beside mmap of a file.")

    @Flag(help: "Print lines of JSON instead of a table.")
    var json = false

    @Flag(help: "An object of 256 MiB instead of 1 GiB.")
    var quick = false

    @Option(help: "Where the store is made, in a fresh folder; by default TMPDIR or /var/tmp.")
    var dir: String?

    func run() throws {
        let parent = dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        let machine = Machine(volume: try Volume(of: parent))
        let workspace = try Workspace(under: parent)
        defer { workspace.close() }
        let report = TimesReport(json: json)
        let object = AgedObject(pageCount: quick ? 1 << 16 : 1 << 18, pageWrites: 0)
        report.begin(machine, object)
        let path = workspace.path + "/store", file = workspace.path + "/file"
        var (store, task, address) = try object.make(at: path, seed: 1, progress: StandardError.progress)
        StandardError.progress("")
        report.print("a store to a page", try stores(store, task, address, object.pageCount))
        try store.export(.init(name: "object"), to: file)
        try store.close()

        guard dropCaches() else {
            StandardError.print("loads from a cold page cache: skipped: only root may empty it")
            return
        }
        var random = Times(), randomFile = Times(), sequential = Times(), sequentialFile = Times()
        for round in 0..<(quick ? 2 : 5) {
            StandardError.progress("cold loads: \(round + 1)")
            store = try Store.open(path)
            task = try store.task(named: "bench")
            address = task.entries.first?.start ?? 0
            let descriptor = open(file, O_RDONLY)
            let size = object.pageCount * Page.size
            guard descriptor >= 0, let mapped = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), mapped != MAP_FAILED else {
                throw BenchError("cannot map \(file): \(String(cString: strerror(errno)))")
            }
            defer { munmap(mapped, size) }
            defer { close(descriptor) }
            // The kernel reads ahead as it likes in both.
            _ = dropCaches()
            try load(mapped, random: &randomFile, object.pageCount, seed: UInt64(round))
            try load(task.pointer(address), random: &random, object.pageCount, seed: UInt64(round))
            _ = dropCaches()
            sequentialFile.add(sweep(mapped, object.pageCount))
            sequential.add(sweep(task.pointer(address), object.pageCount))
            try store.close()
        }
        StandardError.progress("")
        report.print(
            "a first load from a cold page cache",
            [
                ("random, varve", random), ("random, mmap", randomFile), ("all pages in order, varve", sequential),
                ("all pages in order, mmap", sequentialFile),
            ])
    }

    private func stores(_ store: Store, _ task: VMTask, _ address: UInt64, _ pageCount: Int) throws -> [(name: String, times: Times)] {
        var first = Times(), again = Times()
        let count = 4096
        var pages = RandomPages(seed: 3, count: pageCount)
        for _ in 0..<50 {
            let chosen = (0..<count).map { _ in UInt64(pages.nextPage() * Page.size) }
            for times in [true, false] {
                let seconds = timed {
                    for offset in chosen { task.pointer(address + offset).storeBytes(of: 5, toByteOffset: 64, as: UInt64.self) }
                }.seconds
                if times { first.add(seconds / Double(count)) } else { again.add(seconds / Double(count)) }
            }
            try store.commit()
        }
        return [("the first after a commit", first), ("the next", again)]
    }

    private func load(_ base: UnsafeRawPointer, random times: inout Times, _ pageCount: Int, seed: UInt64) throws {
        var pages = RandomPages(seed: 11 + seed, count: pageCount)
        for _ in 0..<500 {
            let page = pages.nextPage()
            let (word, seconds) = timed { base.load(fromByteOffset: page * Page.size, as: UInt64.self) }
            guard word == AgedObject.mark else { throw BenchError("page \(page) is not what was written") }
            times.add(seconds)
        }
    }

    private func sweep(_ base: UnsafeRawPointer, _ pageCount: Int) -> Double {
        timed {
            var sum: UInt64 = 0
            for page in 0..<pageCount { sum &+= base.load(fromByteOffset: page * Page.size, as: UInt64.self) }
            if sum == 1 { print(sum) }
        }.seconds
    }

    /// Writes what is dirty and empties the page cache; false where that is not allowed.
    private func dropCaches() -> Bool {
        sync()
        let control = open("/proc/sys/vm/drop_caches", O_WRONLY)
        guard control >= 0 else { return false }
        defer { close(control) }
        return write(control, "1", 1) == 1
    }
}
