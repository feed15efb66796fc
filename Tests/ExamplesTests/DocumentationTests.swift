import Foundation
import Testing

/// The Swift code of the tutorial, and of README.md where it is about heaps, stands in the examples, which the tests run.
@Suite struct DocumentationTests {
    private func lines(_ text: String) -> [String] {
        text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    }

    private func blocks(of path: String, _ language: String) throws -> [String] {
        try String(contentsOfFile: root + "/" + path, encoding: .utf8).components(separatedBy: "```\(language)\n").dropFirst()
            .compactMap { $0.components(separatedBy: "```").first }
    }

    private func sources() throws -> [[String]] {
        let folder = root + "/Examples/Swift"
        return try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map {
            lines(try String(contentsOfFile: folder + "/" + $0, encoding: .utf8))
        }
    }

    @Test func theTutorialShowsTheExamples() throws {
        let sources = try sources()
        let blocks = try blocks(of: "Sources/Varve/Varve.docc/GettingStarted.md", "swift")
        #expect(blocks.count >= 7)
        for block in blocks + (try self.blocks(of: "README.md", "swift").filter { $0.contains("PersistentHeap") || $0.contains("heap.") || $0.contains("Persistable") }) {
            let wanted = lines(block)
            let isThere = sources.contains { source in source.indices.contains { source[$0...].starts(with: wanted) } }
            #expect(isThere, "this is not in Examples/Swift:\n\(block)")
        }
    }

    /// The four lines of Swift, and the same in C in eight at most.
    @Test func theCounterIsShort() throws {
        let swift = try #require(try blocks(of: "README.md", "swift").first { $0.contains("PersistentHeap") })
        #expect(lines(swift).count == 4)
        let c = try #require(try blocks(of: "README.md", "c").first { $0.contains("varve_heap_open") })
        #expect(lines(c).count <= 8)
    }
}
