import Foundation
import Testing
import Varve

@testable import VarveCommands

@Suite struct HeatmapTests {
    /// An object of 100 pages: page 0 changed three times, page 70 once, in four versions.
    private func changed() -> TestStore {
        let store = TestStore()
        #expect(store("create", "o", "--size", "400K").code == 0)
        for byte in UInt8(1)...3 { #expect(store("write", "o", "--offset", "0", input: Data([byte])).code == 0) }
        #expect(store("write", "o", "--offset", "280K", input: Data([1])).code == 0)
        return store
    }

    @Test func pagesAreCountedByVersions() throws {
        let store = changed()
        let outcome = store("heatmap", "o", "--json")
        #expect(outcome.code == 0, "\(outcome.errors)")
        let objects = try #require(try outcome.json()["objects"] as? [[String: Any]])
        #expect(objects.count == 1)
        #expect(objects[0]["name"] as? String == "o")
        #expect((objects[0]["versions"] as? [Int])?.count == 5)
        #expect(
            objects[0]["pages"] as? [[String: Int]]
                == [["start": 0, "count": 1, "changes": 3], ["start": 70, "count": 1, "changes": 1]])
    }

    /// Bytes that were written and are the same change nothing; what rollback brings back does.
    @Test func rollbacksCount() throws {
        let store = changed()
        #expect(store("snapshot create", "s").code == 0)
        #expect(store("write", "o", "--offset", "4K", input: Data([9])).code == 0)
        #expect(store("rollback", "s", "--object", "o", "--yes").code == 0)
        let objects = try #require(try store("heatmap", "o", "--json").json()["objects"] as? [[String: Any]])
        let pages = try #require(objects[0]["pages"] as? [[String: Int]])
        #expect(pages.first { $0["start"] == 1 } == ["start": 1, "count": 1, "changes": 2])
    }

    @Test func theTerminalShowsRows() throws {
        let lines = changed()("heatmap").text.split(separator: "\n").map(String.init)
        #expect(lines.count == 4)
        #expect(lines[0].hasPrefix("o: 2 pages changed, at most 3 times, over 5 versions"))
        #expect(lines[1] == " 0 █" + String(repeating: "·", count: 63))
        #expect(lines[2] == "64 ······▒" + String(repeating: "·", count: 29))
        #expect(lines[3].contains("A cell is a page"))
    }

    @Test func thePictureHasACellForEachPage() throws {
        let store = changed()
        let outcome = store("heatmap", "o", "--svg", store.beside("o.svg"))
        #expect(outcome.code == 0, "\(outcome.errors)")
        let picture = try String(contentsOfFile: store.beside("o.svg"), encoding: .utf8)
        #expect(picture.hasPrefix("<svg ") && picture.hasSuffix("</svg>\n"))
        #expect(picture.components(separatedBy: "<title>").count - 1 == 100)
        #expect(picture.contains("<title>page 70: 1</title>"))
        let failed = store("heatmap", "o", "--svg", store.beside("no/o.svg"), "--json")
        #expect(failed.code == 2)
        #expect(try failed.jsonError()["code"] as? String == "io")
    }

    @Test func whatThereIsNothingOf() throws {
        let store = TestStore()
        #expect(store("heatmap").text == "No objects.\n")
        #expect(store("heatmap", "none").code == 2)
        #expect(run(["heatmap", "/nowhere/s"]).code == 10)
        #expect(store("create", "new", "--size", "4K").code == 0)
        #expect(store("heatmap", "new").text == "new: one version is kept: nothing to compare\n")
    }

    /// Far apart, pages share cells as little as the rows allow, and the space between is left out.
    @Test func gapsAreLeftOut() {
        let counts = Store.ChangeCounts(
            object: ObjectID(3), name: "", size: 1 << 36, versions: [Version(1), Version(2)],
            runs: [.init(pages: PageRange(start: 0, count: 1), changes: 1), .init(pages: PageRange(start: 1 << 23, count: 64), changes: 1)])
        let grid = HeatGrid(counts, rowLimit: 2)
        #expect(grid.pagesPerCell == 1)
        #expect(grid.rows.map(\.page) == [0, 1 << 23])
        #expect(grid.gap(before: 1) == 1 << 23 - 64)
        #expect(grid.text.hasPrefix("#3: 65 pages changed"))
        #expect(grid.text.contains("⋮ 32 GiB unchanged"))
        #expect(HeatGrid(counts, rowLimit: 1).pagesPerCell == 1 << 18)
        var dense = counts
        dense.runs = [.init(pages: PageRange(start: 0, count: 1 << 20), changes: 5)]
        #expect(HeatGrid(dense, rowLimit: 24).rows.count <= 24)
        #expect(HeatGrid(dense, rowLimit: 24).rows.allSatisfy { $0.cells.allSatisfy { $0 == 5 } })
    }
}
