import ArgumentParser
import Foundation
import Varve

/// `varve-bench vm`: the vm_* calls and shared memory, beside the system calls and memory that they stand for.
struct VMCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vm", abstract: "Time loads, stores, mapping calls and copies beside the system's own.")

    @Flag(help: "Print lines of JSON instead of a table.")
    var json = false

    @Flag(help: "A smaller object and fewer rounds: less than a minute.")
    var quick = false

    @Option(help: "Where the store is made, in a fresh folder; by default TMPDIR or /var/tmp.")
    var dir: String?

    func run() throws {
        let parent = dir ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        let workspace = try Workspace(under: parent)
        defer { workspace.close() }
        let report = TimesReport(json: json)
        let object = quick ? AgedObject.quick : .full
        report.begin(Machine(volume: try Volume(of: parent)), object)
        let path = workspace.path + "/store"
        try Store.create(path)
        let store = try Store.open(path)
        var map = try AddressMapBenchmark(rounds: quick ? 200 : 2000)
        report.print("the address map alone, 100,000 entries", try map.run())
        report.print("memory, a pass over 64 MiB, a word a line", try accesses(store))
        report.print("mapping calls on a task with 10,000 entries", try mapping(store))
        report.print("a copy with 1,000 dirty pages", try copies(store, object.pageCount))
        try store.close()
    }

    /// One load, or one store, in each line of 64 bytes.
    private func accesses(_ store: Store) throws -> [(name: String, times: Times)] {
        let size = 64 << 20
        let task = try store.task(named: "accesses")
        let address = try task.map(size: UInt64(size), object: try store.createObject(named: "memory", size: UInt64(size)))
        _ = try task.map(size: UInt64(size), object: try store.object(named: "memory"))
        let shared = task.pointer(address)
        let plain = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 4096)
        defer { plain.deallocate() }
        var times = [Times](repeating: Times(), count: 4)
        for base in [shared, plain] { store64(base, size, 1) }
        for round in 0..<(quick ? 20 : 100) {
            for (index, base) in [plain, shared].enumerated() {
                times[2 * index].add(timed { blackHole(load64(base, size)) }.seconds)
                times[2 * index + 1].add(timed { store64(base, size, round) }.seconds)
            }
        }
        try store.abandon()
        return Array(zip(["load, plain memory", "store, plain memory", "load, shared object", "store, shared object"], times))
    }

    @inline(never)
    private func load64(_ base: UnsafeMutableRawPointer, _ size: Int) -> Int {
        var sum = 0
        for offset in stride(from: 0, to: size, by: 64) { sum &+= base.load(fromByteOffset: offset, as: Int.self) }
        return sum
    }

    @inline(never)
    private func store64(_ base: UnsafeMutableRawPointer, _ size: Int, _ value: Int) {
        for offset in stride(from: 0, to: size, by: 64) { base.storeBytes(of: value, toByteOffset: offset, as: Int.self) }
    }

    @inline(never)
    private func blackHole(_ value: Int) { if value == .min { print(value) } }

    /// A mapping made and taken away again, untouched.
    private func mapping(_ store: Store) throws -> [(name: String, times: Times)] {
        let task = try store.task(named: "mapping")
        let object = try store.createObject(named: "mapped", size: 1 << 20)
        // Protections that differ keep neighbours apart.
        for index in 0..<10_000 {
            try task.map(size: 4096, object: object, offset: UInt64(index % 256) * 4096, current: index % 2 == 0 ? .default : .read)
        }
        var vm = Times(), allocate = Times(), file = Times(), anonymous = Times()
        let name = "/dev/shm/varve-bench.\(getpid())"
        let descriptor = open(name, O_RDWR | O_CREAT | O_EXCL, 0o600)
        unlink(name)
        defer { close(descriptor) }
        ftruncate(descriptor, 1 << 20)
        for _ in 0..<(quick ? 2000 : 20_000) {
            vm.add(try timed {
                let address = try task.map(size: 4096, object: object)
                try task.deallocate(address: address, size: 4096)
            }.seconds)
            allocate.add(try timed {
                let address = try task.allocate(size: 4096)
                try task.deallocate(address: address, size: 4096)
            }.seconds)
            file.add(timed {
                let address = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
                munmap(address, 4096)
            }.seconds)
            anonymous.add(timed {
                let address = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                munmap(address, 4096)
            }.seconds)
        }
        try store.abandon()
        return [
            ("mmap + munmap, shared file", file), ("vm_map + vm_deallocate, object", vm),
            ("mmap + munmap, anonymous", anonymous), ("vm_allocate + vm_deallocate", allocate),
        ]
    }

    private func copies(_ store: Store, _ pageCount: Int) throws -> [(name: String, times: Times)] {
        let task = try store.task(named: "copies")
        let size = UInt64(pageCount * 4096)
        let address = try task.map(size: size, object: try store.createObject(named: "source", size: size))
        var pages = RandomPages(seed: 1, count: pageCount)
        for page in 0..<pageCount { pages.write(page, task.pointer(address)) }
        try store.commit()
        var copy = Times(), drop = Times()
        for _ in 0..<(quick ? 10 : 30) {
            for _ in 0..<1000 { pages.write(pages.nextPage(), task.pointer(address)) }
            let (made, seconds) = try timed { try task.remap(size: size, source: task, sourceAddress: address, copy: true) }
            copy.add(seconds)
            drop.add(try timed { try task.deallocate(address: made.address, size: size) }.seconds)
            try store.commit()
        }
        return [("vm_remap, copy, \(pageCount / 256) MiB", copy), ("vm_deallocate of the copy", drop)]
    }
}
