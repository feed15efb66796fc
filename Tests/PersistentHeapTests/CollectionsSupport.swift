import Foundation
import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// How much the randomized tests do: `VARVE_TEST_BUDGET` is `quick` or `full`; between them, the default.
enum CollectionsBudget {
    static let name = ProcessInfo.processInfo.environment["VARVE_TEST_BUDGET"] ?? "default"
    static let runs = name == "quick" ? 3 : name == "full" ? 8 : 6
    static let steps = name == "quick" ? 120 : 300
}

/// A step of a random run: of the collection itself, or of the heap that it lies in.
enum Step<Change: Sendable>: Sendable {
    case change(Change)
    case commit
    case abandon
    case reopen
}

/// A collection in a heap, with what it should be; a run makes the same steps to both.
protocol CollectionModel {
    associatedtype Change: Sendable
    /// What the collection should hold; a value, so that an abandonment goes back to what a commit has seen.
    associatedtype Expected

    static var empty: Expected { get }
    static func random(using generator: inout SeededGenerator) -> Change
    /// Opens the collection as a root of the heap.
    init(_ heap: PersistentHeap) throws
    /// Makes a change to both, and says what of the answers differs.
    func perform(_ change: Change, _ expected: inout Expected) throws -> String?
    /// Says what of the whole contents differs.
    func compare(_ expected: Expected) throws -> String?
    /// The contradictions that the collection's own check finds.
    func check() -> [String]
}

/// Runs random steps against a model; a run that fails is made shorter as long as it fails, and printed with its seed.
enum CollectionRun<Model: CollectionModel> {
    static func run(seed: UInt64, steps count: Int = CollectionsBudget.steps) throws {
        var generator = SeededGenerator(seed: seed)
        let steps: [Step<Model.Change>] = (0..<count).map { _ in
            switch Int.random(in: 0..<40, using: &generator) {
            case 0, 1: .commit
            case 2: .abandon
            case 3 where Bool.random(using: &generator): .reopen
            default: .change(Model.random(using: &generator))
            }
        }
        guard let failure = failure(of: steps) else { return }
        let (shorter, text) = shrink(steps, failure)
        Issue.record("seed \(seed): \(text)\nafter \(shorter.count) steps:\n\(shorter.map { "  \(String(reflecting: $0))" }.joined(separator: "\n"))")
    }

    static func failure(of steps: [Step<Model.Change>]) -> String? {
        do { return try difference(steps) } catch { return "thrown: \(error)" }
    }

    private static func difference(_ steps: [Step<Model.Change>]) throws -> String? {
        let folder = TemporaryFolder("collections", inMemory: true)
        var options = PersistentHeap.Options()
        options.capacity = 64 << 20
        var heap = try PersistentHeap.open(folder.path + "/heap.varve", options: options)
        defer { try? heap.close() }
        var model = try Model(heap)
        try heap.commit()
        var expected = Model.empty
        var committed = expected
        var past: [(version: Version, expected: Model.Expected)] = []
        for (number, step) in steps.enumerated() {
            switch step {
            case .change(let change):
                if let text = try model.perform(change, &expected) { return "step \(number), \(step): \(text)" }
                continue
            case .commit:
                // Debug builds throw where a store was not declared.
                let version = try heap.commit(declaredOnly: true)
                committed = expected
                past.append((version, expected))
                if let old = past.dropLast(4).last ?? past.first, number % 3 == 0 {
                    let text = try heap.reading(at: .version(old.version)) { try Model($0).compare(old.expected) }
                    if let text { return "step \(number), version \(old.version): \(text)" }
                }
                if let problem = try heap.check().problems.first { return "step \(number): \(problem)" }
            case .abandon:
                try heap.abandon()
                expected = committed
            case .reopen:
                try heap.close()
                heap = try PersistentHeap.open(folder.path + "/heap.varve", options: options)
                model = try Model(heap)
                expected = committed
            }
            if let text = try model.compare(expected) { return "step \(number), \(step): \(text)" }
            if let text = model.check().first { return "step \(number), \(step): \(text)" }
        }
        if let text = try model.compare(expected) ?? model.check().first { return "at the end: \(text)" }
        if let failure = heap.failure { return "the heap kept \(failure)" }
        return leaks(heap).first
    }

    /// Leaves steps out, fewer and fewer at a time, as long as the run fails.
    private static func shrink(_ steps: [Step<Model.Change>], _ failure: String) -> ([Step<Model.Change>], String) {
        var best = (steps, failure)
        var length = steps.count / 2
        var tries = 400
        while length > 0, tries > 0 {
            var start = 0
            while start < best.0.count, tries > 0 {
                var shorter = best.0
                shorter.removeSubrange(start..<min(start + length, shorter.count))
                tries -= 1
                if let text = Self.failure(of: shorter) { best = (shorter, text) } else { start += length }
            }
            length /= 2
        }
        return best
    }
}

/// The blocks that the heap's allocator counts as allocated, but for the roots' own: each should be owned by one collection.
func leaks(_ heap: PersistentHeap) -> [String] {
    let space = heap.space
    var owned: [Int: String] = [:]
    var findings: [String] = []
    let walk = ContainerWalk(
        space: space, visit: { offset, _, what in if owned.updateValue(what, forKey: offset) != nil { findings.append("\(what) at \(offset) has two owners") } },
        report: { findings.append($0) })
    let directory = RootDirectory(space)
    // There is none before the first root.
    if space.header(HeapFormat.directoryOffset) != 0 { owned[space.header(HeapFormat.directoryOffset)] = "roots" }
    for number in 0..<directory.count {
        let record = directory.record(number)
        owned[record.name] = "name"
        owned[record.layout] = "layout"
        if record.kind == RootDirectory.containerKind {
            walk.walk(
                StoredShape(layout: directory.text(record.layout, record.layoutBytes)), handle: ContainerHandle(offset: record.value))
        } else {
            owned[record.value] = "value"
        }
    }
    var allocated: Set<Int> = []
    for granule in 0..<space.geometry.unitCount * HeapFormat.granulesPerUnit where space.isAllocated(granule) {
        allocated.insert(space.offset(ofGranule: granule))
    }
    for offset in allocated where owned[offset] == nil { findings.append("nobody owns the block at offset \(offset)") }
    for (offset, what) in owned where !allocated.contains(offset) { findings.append("the \(what) at offset \(offset) is not allocated") }
    return findings
}

/// A heap in a folder of its own, closed with its last reference.
final class TemporaryHeap {
    let folder = TemporaryFolder("collections", inMemory: true)
    let heap: PersistentHeap

    init(capacity: Int = 64 << 20) throws {
        var options = PersistentHeap.Options()
        options.capacity = capacity
        heap = try PersistentHeap.open(folder.path + "/heap.varve", options: options)
    }

    deinit { try? heap.close() }
}

/// Texts around the length that fits in place, of one to four bytes a character; 1,500 of them.
func randomText(using generator: inout SeededGenerator) -> String {
    let characters = ["a", "b", "z", "é", "ß", "Ж", "語", "🦉", "e\u{301}", "\0"]
    var own = SeededGenerator(seed: UInt64.random(in: 0..<1500, using: &generator))
    let longest = [3, 16, 40].randomElement(using: &own)!
    return (0..<Int.random(in: 0...longest, using: &own)).map { _ in characters.randomElement(using: &own)! }.joined()
}
