import Foundation
@testable import PageStore
import TestSupport
import Testing
@testable import VirtualMemory
import Varve

/// A closed store with damaged files, opened with the check on mapping: what is read, mapped, exported or attached is right
/// or a typed error; never wrong bytes, a trap or a hang.
@Suite struct StoreDamageTests {
    /// In a process of its own, so that a trap is one failed test that names the trial.
    @Test(.timeLimit(.minutes(20)))
    func damagedStoresNeverAnswerWrongBytes() async {
        let folder = TemporaryFolder("store-damage", inMemory: true)
        await #expect(processExitsWith: .success) { [path = folder.path as String] in
            quietEnd(after: 900)
            let problems = try StoreDamageRun(path).sweep()
            exit(problems.isEmpty ? 0 : 1)
        }
        for name in ["report", "trial"] {
            print("store damage, \(name): \((try? String(contentsOfFile: folder.path + "/" + name, encoding: .utf8)) ?? "none")")
        }
    }
}

/// A store of two objects, a snapshot and a task, damaged again and again.
final class StoreDamageRun {
    private let parent: String
    private var contents: [String: [UInt8]] = [:]
    private var address: UInt64 = 0
    /// Bytes of pages.lmdb that head and snapshot are read from.
    private var live: [Int] = []
    private var counts: [String: Int] = [:]
    private static let references: [(String, Store.ObjectReference)] = [
        ("a", .init(name: "a")), ("b", .init(name: "b")), ("a@s", .init(name: "a", state: .snapshot("s"))),
    ]

    init(_ parent: String) throws {
        self.parent = parent
        let path = parent + "/base"
        try Store.create(path, options: .init(ringBytes: 256 << 10, windowBase: StoreFixture.newWindowBase()))
        let store = try Store.open(path)
        for (name, pages) in [("a", 60), ("b", 9)] {
            try store.createObject(named: name, size: UInt64(pages * 4096 - 7))
            var chunks = [(0..<pages * 4096 - 7).map { UInt8(truncatingIfNeeded: $0 / 4096 * 3 + $0 % 251 + 1) }]
            try store.write(name, offset: 0, from: { () throws(StoreError) in chunks.popLast() })
        }
        try store.createSnapshot("s")
        let task = try store.task(named: "main")
        address = try task.map(size: 60 * 4096, object: try store.object(named: "a"))
        for page in [3, 20, 21, 59] { memset(task.pointer(address + UInt64(page * 4096)), Int32(100 + page), 1000) }
        try task.allocate(size: 8192)
        try store.commit()
        try store.pages.settle()
        for (name, reference) in Self.references {
            contents[name] = try store.mapState(reference).withBytes { Array($0) }
            let view = try store.view(reference).view
            for (pages, extent) in view.extents(in: PageRange(start: 0, count: view.pageCount)) {
                if case .file(let offset) = extent { live += (0..<pages.count).map { offset + $0 * 4096 } }
            }
        }
        try store.close()
    }

    private enum Damage: CaseIterable { case flip, liveFlip, noise, zeroPage, truncate }

    func sweep() throws -> [String] {
        let trials = Budget.of(quick: 60, default: 200, full: 500)
        let seed = ProcessInfo.processInfo.environment["VARVE_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max / 2)
        var problems: [String] = []
        for index in 0..<trials where problems.count < 6 {
            var generator = SeededGenerator(seed: seed &+ UInt64(index))
            do { try trial(&generator, "seed \(seed &+ UInt64(index))") } catch {
                problems.append("seed \(seed &+ UInt64(index)): \(error)")
            }
        }
        let text = (problems + ["\(trials) trials from seed \(seed): \(counts.sorted { $0.key < $1.key })"]).joined(separator: "\n")
        try text.write(toFile: parent + "/report", atomically: false, encoding: .utf8)
        return problems
    }

    private func trial(_ generator: inout SeededGenerator, _ name: String) throws {
        let path = parent + "/store"
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.copyItem(atPath: parent + "/base", toPath: path)
        let damage = Damage.allCases.randomElement(using: &generator)!
        let file = damage == .liveFlip ? StoreFile.pages
            : [StoreFile.catalog, StoreFile.catalog, StoreFile.pages, StoreFile.journal, StoreFile.leases].randomElement(using: &generator)!
        try "\(name): \(damage) in \(file)".write(toFile: parent + "/trial", atomically: false, encoding: .utf8)
        try apply(damage, path + "/" + file, &generator)
        do {
            let outcome = try look(path, liveFlip: damage == .liveFlip)
            counts["\(file) \(outcome)", default: 0] += 1
        } catch { throw Mismatch("\(damage) in \(file): \(error)") }
    }

    private func apply(_ damage: Damage, _ path: String, _ generator: inout SeededGenerator) throws {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        func random(_ count: Int) -> Int { Int.random(in: 0..<count, using: &generator) }
        switch damage {
        case .flip: bytes[random(bytes.count)] ^= 1 << UInt8(random(8))
        case .liveFlip: bytes[live.randomElement(using: &generator)! + random(4096)] ^= 1 << UInt8(random(8))
        case .noise:
            let start = random(bytes.count)
            for index in start..<min(start + 1 + random(300), bytes.count) { bytes[index] = UInt8(random(256)) }
        case .zeroPage:
            let start = random(max(bytes.count / 4096, 1)) * 4096
            for index in start..<min(start + 4096, bytes.count) { bytes[index] = 0 }
        case .truncate: bytes = bytes.prefix(random(bytes.count))
        }
        // In place: what is a hole of the file becomes zeros, which it reads as anyway.
        try bytes.write(to: URL(fileURLWithPath: path))
    }

    /// Reads everything in every way; throws where bytes are wrong, or where `verify` names nothing of what was met.
    private func look(_ path: String, liveFlip: Bool) throws -> String {
        let store: Store
        do throws(StoreError) { store = try Store.open(path, options: .init(checksOnMap: true)) } catch { return "refused: \(error.code)" }
        defer { try? store.close() }
        var failures: [String] = []
        func attempt(_ what: String, _ body: () throws -> Bool) throws {
            do { guard try body() else { throw Mismatch("\(what): wrong bytes") } } catch let error as StoreError {
                failures.append("\(what): \(error.code)")
            } catch let error as VMError { failures.append("\(what): \(error.code)") }
        }
        for (name, reference) in Self.references {
            let right = contents[name]!
            try attempt("reading \(name)") {
                var bytes = [UInt8](repeating: 0, count: right.count)
                return try bytes.withUnsafeMutableBytes { try store.read(reference, offset: 0, into: $0) } == right.count && bytes == right
            }
            try attempt("mapping \(name)") { try store.mapState(reference).withBytes { $0.elementsEqual(right) } }
            let out = parent + "/out"
            try? FileManager.default.removeItem(atPath: out)
            try attempt("exporting \(name)") {
                try store.export(reference, to: out)
                return try Data(contentsOf: URL(fileURLWithPath: out)).elementsEqual(right)
            }
            if failures.last?.hasPrefix("exporting \(name)") == true, FileManager.default.fileExists(atPath: out) {
                throw Mismatch("a failed export left a file")
            }
        }
        var mapDiffers = false
        try attempt("attaching the task") {
            let task = try store.task(named: "main")
            guard let entry = task.entries.first(where: { $0.start == address }), entry.length == 60 * 4096 else {
                mapDiffers = true
                return true
            }
            let right = contents["a"]!
            return right.withUnsafeBytes { memcmp($0.baseAddress!, task.pointer(address), right.count) == 0 }
        }
        var findings = 0
        do throws(StoreError) { _ = try store.verify { _ in findings += 1 } } catch { findings += 1 }
        if findings == 0, liveFlip { throw Mismatch("verify named nothing") }
        if findings == 0, mapDiffers { throw Mismatch("the map differs, and verify named nothing") }
        if findings == 0, !failures.isEmpty { throw Mismatch("verify named nothing: \(failures)") }
        return failures.isEmpty ? (findings == 0 ? "intact" : "named, all read") : "named"
    }
}
