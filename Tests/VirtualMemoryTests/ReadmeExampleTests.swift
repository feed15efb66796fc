import Foundation
import TestSupport
import Testing
import Varve

/// README.md's example: it stands here word for word, so that it compiles, and it does what it says.
@Suite struct ReadmeExampleTests {
    private func example(_ path: String) throws {
        try Store.create(path)
        let store = try Store.open(path)
        let object = try store.createObject(named: "counters", size: 1 << 20)
        let task = try store.task(named: "main")                     // an address space that persists
        let address = try task.map(size: 1 << 20, object: object)    // vm_map; the same address ever after
        let counters = task.pointer(address).assumingMemoryBound(to: UInt64.self)
        counters[0] = 41                                             // ordinary memory
        try store.commit(message: "count", snapshot: "first")        // on the disk, all of it or nothing
        counters[0] += 1
        try store.abandon()                                          // 41 again, in place
        try store.close()
    }

    @Test func itRuns() throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/counters.varve"
        try example(path)
        let store = try Store.open(path)
        var value: UInt64 = 0
        _ = try withUnsafeMutableBytes(of: &value) { try store.read(.init(name: "counters"), offset: 0, into: $0) }
        #expect(value == 41)
        #expect(try store.snapshots().map(\.name) == ["first"])
        try store.close()
    }

    @Test func theReadmeShowsIt() throws {
        let here = URL(fileURLWithPath: #filePath)
        let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let readme = try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
        let blocks = readme.components(separatedBy: "```swift\n").dropFirst().compactMap { $0.components(separatedBy: "```").first }
        let block = try #require(blocks.first { $0.contains("Store.create") })
        func lines(_ text: String) -> [String] {
            text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        }
        let wanted = lines(block)
        #expect(wanted.count >= 8)
        let source = lines(try String(contentsOf: here, encoding: .utf8))
        let isThere = source.indices.contains { source[$0...].starts(with: wanted) }
        #expect(isThere, "README.md's block about stores is not in this file")
    }
}
