import Foundation
import TestSupport
import Testing
import Varve

@testable import VarveCommands

@Suite struct HeapCommandTests {
    struct Node: Persistable {
        var value: Int
        var next: Ref<Node>?
    }

    /// Makes a heap with a counter, a list of three nodes, and a snapshot of it before the fourth was made.
    private func fill(_ path: String, leaking: Int = 0) throws {
        let heap = try PersistentHeap.open(path, options: .init(capacity: 1 << 24))
        let count = try heap.root("count", of: Int.self, default: 0)
        let first = try heap.root("list", of: Ref<Node>?.self, version: 2, default: nil)
        for value in 1...3 {
            first.value = try heap.make(Node(value: value, next: first.value))
            count.value += 1
        }
        try heap.commit(snapshot: "before")
        for _ in 0..<leaking { _ = try heap.make(Node(value: 0, next: nil)) }
        count.value = -7
        try heap.commit()
        try heap.close()
    }

    @Test func rootsAreListedWithNumbers() throws {
        let folder = TemporaryFolder("varve-heap")
        let path = folder.path + "/heap.varve"
        try fill(path)
        defer { withExtendedLifetime(folder) {} }
        let outcome = run(["heap", "roots", path, "--json"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        let roots = try #require(try outcome.json()["roots"] as? [[String: Any]])
        #expect(roots.map { $0["name"] as? String } == ["count", "list"])
        #expect(roots.map { $0["type"] as? String } == ["Int", "Optional<Ref<Node>>"])
        #expect(roots.map { $0["version"] as? Int } == [1, 2])
        #expect(roots.map { $0["value"] as? Int } == [-7, nil])
        #expect(run(["heap", "roots", path, "--at", "before"]).text.contains("count        1      3  Int"))
    }

    @Test func statCountsBlocks() throws {
        let folder = TemporaryFolder("varve-heap")
        let path = folder.path + "/heap.varve"
        try fill(path)
        defer { withExtendedLifetime(folder) {} }
        let outcome = run(["heap", "stat", path, "--json"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        let answer = try outcome.json()
        // Two roots' values, names and layouts, their directory, three nodes.
        #expect(answer["blocks"] as? Int == 10)
        #expect(answer["roots"] as? Int == 2)
        #expect(answer["capacity"] as? Int == 1 << 24)
        let used = try #require(answer["block_bytes"] as? Int)
        #expect(used >= 10 * 16 && used < 4096)
        #expect(run(["heap", "stat", path]).text.contains("10 blocks, "))
    }

    @Test func leaksAreFound() throws {
        let folder = TemporaryFolder("varve-heap")
        let path = folder.path + "/heap.varve"
        try fill(path, leaking: 2)
        defer { withExtendedLifetime(folder) {} }
        let outcome = run(["heap", "leaks", path, "--json"])
        #expect(outcome.code == 1, "\(outcome.errors)")
        let answer = try outcome.json()
        #expect(answer["conservative_roots"] as? [String] == ["list"])
        #expect(answer["leaked_blocks"] as? Int == 2)
        #expect(answer["reachable_blocks"] as? Int == 10)
        #expect((answer["leaks"] as? [Any])?.count == 2)
        #expect(run(["heap", "leaks", path]).text.hasPrefix("2 blocks ("))
        #expect(run(["heap", "leaks", path, "--limit", "1"]).text.contains("and 1 more"))
        let before = run(["heap", "leaks", path, "--at", "before"])
        #expect(before.code == 0)
        #expect(before.text.hasPrefix("No leaks: 10 blocks"))
        #expect(run(["heap", "leaks", path, "--limit", "-1"]).code == 64)
    }

    /// Addresses in the heap lead somewhere as references do, from within a block too.
    @Test func pointersAreFollowed() throws {
        let folder = TemporaryFolder("varve-heap")
        let path = folder.path + "/heap.varve"
        defer { withExtendedLifetime(folder) {} }
        let heap = try PersistentHeap.open(path, options: .init(capacity: 1 << 24))
        let place = try heap.root("place", of: UnsafeMutableRawPointer?.self, default: nil)
        let large = try heap.space.allocate(byteCount: 100_000)
        let small = try heap.space.allocate(byteCount: 40)
        heap.space.mutableBytes(large, 100_000).storeBytes(of: 0, toByteOffset: 0, as: Int.self)
        (heap.space.base + large).initializeMemory(as: UInt8.self, repeating: 0, count: 100_000)
        (heap.space.base + large + 50_000).storeBytes(of: heap.space.base + small + 39, as: UnsafeMutableRawPointer.self)
        place.value = heap.space.base + large + 99_999
        try heap.commit()
        try heap.close()
        #expect(run(["heap", "leaks", path]).code == 0)
    }

    /// Collections are followed by their types: a number in them that looks like a place hides nothing.
    @Test func collectionsAreFollowedByTheirTypes() throws {
        let folder = TemporaryFolder("varve-heap")
        let path = folder.path + "/heap.varve"
        defer { withExtendedLifetime(folder) {} }
        let heap = try PersistentHeap.open(path, options: .init(capacity: 1 << 24))
        let words: PersistentDictionary<String, PersistentArray<Int>> = try heap.root("words")
        let leak = try heap.space.allocate(byteCount: 16)
        for number in 0..<200 {
            try words.collection(forKey: "a word that is longer than sixteen bytes \(number)").append(leak)
        }
        try heap.commit()
        try heap.close()
        let answer = try run(["heap", "leaks", path, "--json"]).json()
        #expect(answer["conservative_roots"] as? [String] == [])
        #expect(answer["leaks"] as? [[String: Int]] == [["offset": leak, "block_bytes": 16]])
        #expect((answer["reachable_blocks"] as? Int ?? 0) > 600)
        #expect(run(["heap", "check", path]).code == 0)
    }

    @Test func damageIsFound() throws {
        let folder = TemporaryFolder("varve-heap")
        let path = folder.path + "/heap.varve"
        try fill(path)
        defer { withExtendedLifetime(folder) {} }
        #expect(run(["heap", "check", path]).text.hasPrefix("Intact: 10 blocks"))
        #expect(try run(["heap", "check", path, "--json"]).json()["ok"] as? Bool == true)
        // The unit table begins with the second page; unit 0 holds the first span.
        let table = try #require(run(["read", path, "heap", "--offset", "4096", "--length", "1"]).output.first)
        #expect(table != 0)
        #expect(run(["write", path, "heap", "--offset", "4096"], input: Data([0x3e])).code == 0)
        let outcome = run(["heap", "check", path, "--json"])
        #expect(outcome.code == 12)
        #expect(try outcome.json()["ok"] as? Bool == false)
        #expect(((try outcome.json()["problems"] as? [Any])?.count ?? 0) > 0)
        #expect(run(["heap", "check", path]).text.hasPrefix("DAMAGED: "))
        // The others say so too, or answer; they do not fall over.
        for command in ["stat", "roots", "leaks"] { #expect([0, 1, 12].contains(run(["heap", command, path]).code)) }
        // A number of roots that there is no room for.
        #expect(run(["write", path, "heap", "--offset", "4096"], input: Data([table])).code == 0)
        #expect(run(["write", path, "heap", "--offset", "56"], input: Data([0xff, 0xff, 0xff, 0x7f])).code == 0)
        #expect(run(["heap", "check", path]).code == 12)
        #expect(run(["heap", "roots", path]).code == 12)
    }

    @Test func whatIsNoHeap() throws {
        let store = TestStore()
        #expect(run(["heap", "stat", store.path]).code == 2)
        #expect(store("create", "heap", "--size", "2M").code == 0)
        let outcome = run(["heap", "check", store.path, "--json"])
        #expect(outcome.code == 12)
        #expect(try outcome.jsonError()["code"] as? String == "damaged")
        #expect(store("create", "empty", "--size", "0").code == 0)
        #expect(run(["heap", "roots", store.path, "--heap", "empty"]).code == 12)
        #expect(run(["heap", "roots", "/nowhere/s"]).code == 10)
        #expect(run(["heap"]).code == 64)
    }

    /// While another has the heap open for writing, its last commit is looked at.
    @Test func aHeapInUse() throws {
        let folder = TemporaryFolder("varve-heap")
        let path = folder.path + "/heap.varve"
        try fill(path)
        defer { withExtendedLifetime(folder) {} }
        let heap = try PersistentHeap.open(path)
        let count = try heap.root("count", of: Int.self, default: 0)
        count.value = 99
        let program = try #require(builtProgram)
        let outcome = try RunningProgram(program, ["heap", "roots", path]).finish()
        #expect(outcome.text.contains("-7"), "\(outcome.errors)")
        try heap.close()
    }
}
