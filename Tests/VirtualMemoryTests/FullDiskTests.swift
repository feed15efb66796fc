import Foundation
@testable import PageStore
import Synchronization
import TestSupport
import Testing
@testable import VirtualMemory
import Varve

/// Operations on a file system that is full at one step of theirs after the other: each is refused as `.full` with nothing
/// changed, or done; the store opens on the full disk, and the operation succeeds once there is room.
@Suite(.serialized, .enabled(if: SmallDisk.isPossible, "no small disk: \(SmallDisk.reasonAgainst ?? "")"))
struct FullDiskTests {
    @Test(.timeLimit(.minutes(20)), arguments: FullDiskOperation.chosen)
    func everyStepOfAnOperationMeetsTheFullDisk(_ operation: FullDiskOperation) throws {
        let run = try FullDiskRun(operation)
        var refused = 0
        var done = 0
        func note(_ wasRefused: Bool) {
            if wasRefused { refused += 1 } else { done += 1 }
        }
        // Too little room from the beginning, page by page, then up to where all of it fits.
        let near = Budget.of(quick: 2, default: 12, full: 24)
        for pages in 0..<near { note(try run.trial(.fromTheBeginning, leaving: pages * 4096)) }
        var room = near * 4096
        while try run.trial(.fromTheBeginning, leaving: room) {
            note(true)
            room += Budget.of(quick: 1024, default: 256, full: 128) << 10
        }
        note(false)
        // The room goes away between two steps: what was checked beforehand no longer holds.
        let stride = Budget.of(quick: 24, default: 6, full: 2)
        for step in ["lmdb.commit", "settle.published", "journal.flushed"] {
            for pass in 1...100 {
                var pages = 0
                while try run.trial(.atStep(step, pass), leaving: pages * 4096) {
                    note(true)
                    // What is refused with more than that free is refused before anything is written.
                    pages += pages < 48 ? stride : 64
                    try #require(pages < 1000, "\(step) \(pass) is always refused")
                }
                note(false)
                if !run.wasReached { break }
            }
        }
        print("full disk: \(operation): \(refused) times refused, \(done) times done")
        #expect(refused > 0 || !operation.takesSpace)
    }

    /// Making a store is whole or nothing.
    @Test func creationOnAFullDiskLeavesNothing() throws {
        let disk = try SmallDisk(mebibytes: 16)
        var refused = 0
        for pages in stride(from: 0, to: 400, by: Budget.of(quick: 40, default: 8, full: 2)) {
            disk.leave(pages * 4096)
            let path = disk.path + "/store"
            do throws(StoreError) {
                try Store.create(path, options: .init(ringBytes: 256 << 10))
                try Store.open(path).close()
            } catch {
                #expect(error.code == .full, "\(pages) pages: \(error)")
                refused += 1
            }
            disk.makeRoom()
            let names = try FileManager.default.contentsOfDirectory(atPath: disk.path).filter { $0 != "lost+found" }
            #expect(names.isEmpty || names == ["store"], "\(names)")
            if names == ["store"] { try Store.open(path).close() }
            try? FileManager.default.removeItem(atPath: path)
        }
        #expect(refused > 0)
        print("full disk: create: \(refused) times refused")
    }
}

/// Something done to a store.
struct FullDiskOperation: CustomTestStringConvertible, CustomStringConvertible, Sendable {
    let description: String
    /// All of it is done, or nothing.
    var isOneStep = true
    /// It takes more of the disk than pages.lmdb has free within it.
    var takesSpace = false
    /// What is done, given a task that maps object `mapped`, its address, and a folder on the disk.
    let perform: @Sendable (Store, VMTask, UInt64, _ disk: String, _ outside: String) throws -> Void

    var testDescription: String { description }

    private static func store(_ count: Int, _ task: VMTask, _ address: UInt64) {
        for page in 0..<count { memset(task.pointer(address + UInt64(page * 4096)), Int32(page + 3), 4096) }
    }

    /// All of them, or, where there is little time, one of each kind.
    static var chosen: [FullDiskOperation] {
        all.filter { Budget.name != "quick" || ["staged commit", "settle", "export"].contains($0.description) }
    }

    private static let all: [FullDiskOperation] = [
        .init(description: "commit") { store, task, address, _, _ in
            Self.store(9, task, address)
            try task.allocate(size: 8192)
            try store.commit(message: "c")
        },
        .init(description: "deferred commit, flush", isOneStep: false) { store, task, address, _, _ in
            Self.store(5, task, address)
            try store.commit(durability: .deferred)
            try store.flush()
        },
        .init(description: "staged commit", takesSpace: true) { store, task, address, _, _ in
            Self.store(48, task, address)
            try store.commit()
        },
        .init(description: "snapshot") { store, _, _, _, _ in try store.createSnapshot("new") },
        .init(description: "settle", isOneStep: false, takesSpace: true) { store, task, address, _, _ in
            Self.store(20, task, address)
            try store.commit()
            try store.pages.settle()
        },
        .init(description: "catalog", isOneStep: false, takesSpace: true) { store, task, _, _, _ in
            // Neighbours that differ are an entry each.
            for index in 0..<300 { try task.map(size: 4096, current: index % 2 == 0 ? .read : .default) }
            try store.commit()
            try store.pages.settle()
            try store.feeder.catchUp()
        },
        .init(description: "write", takesSpace: true) { store, _, _, _, _ in
            var chunks = [[UInt8](repeating: 77, count: 100_000)]
            try store.write("plain", offset: 50, from: { () throws(StoreError) in chunks.popLast() })
        },
        .init(description: "import", takesSpace: true) { store, _, _, _, outside in _ = try store.importFile(outside, named: "imported") },
        .init(description: "clone") { store, _, _, _, _ in try store.clone(.init(name: "plain"), as: "other") },
        .init(description: "rollback") { store, _, _, _, _ in try store.rollback(to: .snapshot("old"), object: "plain") },
        .init(description: "reclaim") { store, _, _, _, _ in try store.reclaim() },
        .init(description: "optimize") { store, _, _, _, _ in _ = try store.optimize("plain") },
        .init(description: "export", takesSpace: true) { store, _, _, disk, _ in
            do {
                try store.export(.init(name: "plain"), to: disk + "/exported")
            } catch {
                try #require(try Data(contentsOf: URL(fileURLWithPath: disk + "/exported")) == FullDiskRun.oldExport)
                throw error
            }
            #expect(try Data(contentsOf: URL(fileURLWithPath: disk + "/exported")).count == FullDiskRun.plainSize)
        },
        .init(description: "backup", takesSpace: true) { store, _, _, disk, _ in
            try store.backup(to: disk + "/copy")
            try Store.open(disk + "/copy").close()
            try FileManager.default.removeItem(atPath: disk + "/copy")
        },
    ]
}

/// A store on a small disk, brought back to its beginning for each trial of one operation.
final class FullDiskRun {
    static let plainSize = 40 * 4096 - 100
    static let oldExport = Data("the old file".utf8)

    /// When the room goes away.
    enum Moment {
        case fromTheBeginning
        /// At the n-th pass of a step.
        case atStep(String, Int)
    }

    /// All that reading shows.
    struct Contents: Equatable {
        var objects: [String: Data] = [:]
        var snapshots: Set<String> = []
    }

    private let operation: FullDiskOperation
    private let disk: SmallDisk
    private let outside = TemporaryFolder("full-disk")
    private var before = Contents()
    private var after = Contents()
    private(set) var wasReached = false

    init(_ operation: FullDiskOperation) throws {
        self.operation = operation
        disk = try SmallDisk(mebibytes: 24)
        try Data((0..<200_000).map { UInt8(truncatingIfNeeded: $0 / 4096 + 1) }).write(to: URL(fileURLWithPath: file))
        try Store.create(base, options: .init(ringBytes: 256 << 10, windowBase: StoreFixture.newWindowBase()))
        let store = try Store.open(base)
        func fill(_ byte: UInt8) throws {
            var chunks = [[UInt8](repeating: byte, count: Self.plainSize)]
            try store.write("plain", offset: 0, from: { () throws(StoreError) in chunks.popLast() })
        }
        try store.createObject(named: "plain", size: UInt64(Self.plainSize))
        try fill(1)
        try store.createSnapshot("old")
        try fill(2)
        let task = try store.task(named: "main")
        let object = try store.createObject(named: "mapped", size: 64 * 4096)
        let address = try task.map(size: 64 * 4096, object: object)
        try store.setRetention(Retention(versions: 1, seconds: 0))
        for round in 1...12 {
            for page in 0..<6 { memset(task.pointer(address + UInt64((page * round) % 64 * 4096)), Int32(round), 4096) }
            try store.commit()
        }
        try store.close()
        before = try contents(base)
        // With room, the operation leads to what it must always lead to.
        try restore()
        try perform()
        after = try contents(path)
    }

    private var base: String { disk.path + "/base" }
    private var path: String { disk.path + "/store" }
    private var file: String { outside.path + "/file" }

    private func restore() throws {
        try? FileManager.default.removeItem(atPath: path)
        try? FileManager.default.removeItem(atPath: disk.path + "/copy")
        try FileManager.default.copyItem(atPath: base, toPath: path)
        try Self.oldExport.write(to: URL(fileURLWithPath: disk.path + "/exported"))
    }

    private func contents(_ store: Store) throws -> Contents {
        var found = Contents()
        for name in try store.objects().map(\.name) {
            // Memory without a name is zeros throughout.
            if name.isEmpty { continue }
            found.objects[name] = try read(.init(name: name), store)
        }
        for snapshot in try store.snapshots() {
            found.snapshots.insert(snapshot.name)
            found.objects["plain@\(snapshot.name)"] = try read(.init(name: "plain", state: .snapshot(snapshot.name)), store)
        }
        return found
    }

    private func read(_ reference: Store.ObjectReference, _ store: Store) throws -> Data {
        var bytes = Data(count: Int(try store.size(of: reference)))
        let count = try bytes.withUnsafeMutableBytes { try store.read(reference, offset: 0, into: $0) }
        return bytes.prefix(count)
    }

    private func contents(_ path: String) throws -> Contents {
        let store = try Store.open(path)
        let found = try contents(store)
        try store.close()
        return found
    }

    private func perform(_ store: Store) throws {
        let task = try store.task(named: "main")
        let address = try #require(task.entries.first).start
        try operation.perform(store, task, address, disk.path, file)
    }

    private func perform() throws {
        let store = try Store.open(path)
        try perform(store)
        var findings: [Finding] = []
        _ = try store.verify { findings.append($0) }
        #expect(findings.isEmpty, "\(operation): \(findings)")
        try store.close()
    }

    /// Runs `body`, which may be refused for want of space alone; answers whether it was.
    private func wasRefused(_ what: String, _ body: () throws -> Void) throws -> Bool {
        do {
            try body()
            return false
        } catch let error as StoreError where error.code == .full { return true } catch {
            throw Mismatch("\(what): \(error)")
        }
    }

    /// Answers whether the operation was refused.
    func trial(_ moment: Moment, leaving bytes: Int) throws -> Bool {
        do { return try attempt(moment, leaving: bytes) } catch {
            Failpoint.observe(nil)
            disk.makeRoom()
            throw Mismatch("\(operation), \(moment), \(bytes) bytes free: \(error)")
        }
    }

    private func attempt(_ moment: Moment, leaving bytes: Int) throws -> Bool {
        disk.makeRoom()
        try restore()
        let store = try Store.open(path)
        defer { try? store.close() }
        let watch = StepWatch(moment)
        switch moment {
        case .fromTheBeginning: disk.leave(bytes)
        case .atStep: Failpoint.observe { [disk] name in if watch.isDue(name) { disk.leave(bytes) } }
        }
        let refused = try wasRefused("refused") { try perform(store) }
        Failpoint.observe(nil)
        wasReached = watch.wasReached
        let right = !refused ? [after] : operation.isOneStep ? [before] : [before, after]
        try expect(right, try contents(store), "in the open store")
        if refused, bytes / 4096 % 2 == 0 {
            disk.makeRoom()
            try perform(store)
            try expect([after], try contents(store), "done again")
            try store.close()
        } else {
            _ = try wasRefused("closing") { try store.close() }
            // The disk is as full as it was.
            let again = try Store.open(path)
            defer { try? again.close() }
            try expect(right, try contents(again), "opened on the full disk")
            try verify(again)
            _ = try wasRefused("closing again") { try again.close() }
            disk.makeRoom()
            if refused {
                let last = try Store.open(path)
                defer { try? last.close() }
                try perform(last)
                try last.close()
            }
        }
        let last = try Store.open(path)
        defer { try? last.close() }
        try expect([after], try contents(last), "at the end")
        try verify(last)
        try last.close()
        let names = try FileManager.default.contentsOfDirectory(atPath: disk.path)
        guard Set(names).isSubset(of: ["lost+found", "base", "store", "exported"]) else { throw Mismatch("left behind: \(names)") }
        return refused
    }

    private func expect(_ right: [Contents], _ found: Contents, _ when: String) throws {
        guard !right.contains(found) else { return }
        let sizes = { (contents: Contents) in contents.objects.mapValues(\.count).sorted { $0.key < $1.key } }
        throw Mismatch("\(when): \(found.snapshots) \(sizes(found)), not \(right.map { "\($0.snapshots) \(sizes($0))" })")
    }

    private func verify(_ store: Store) throws {
        var damage: [Finding] = []
        // A catalog that a full disk keeps behind is a warning.
        _ = try store.verify { if $0.severity == .damage { damage.append($0) } }
        guard damage.isEmpty else { throw Mismatch("verify: \(damage)") }
    }
}

/// Tells when a step is passed for the n-th time.
private final class StepWatch: Sendable {
    private let step: String
    private let pass: Int
    private let passes = Atomic<Int>(0)

    init(_ moment: FullDiskRun.Moment) {
        switch moment {
        case .fromTheBeginning: (step, pass) = ("", 0)
        case .atStep(let step, let pass): (self.step, self.pass) = (step, pass)
        }
    }

    func isDue(_ name: String) -> Bool { name == step && passes.add(1, ordering: .relaxed).newValue == pass }
    var wasReached: Bool { pass > 0 && passes.load(ordering: .relaxed) >= pass }
}
