import Foundation
import TestSupport
import Testing
import Varve

@testable import VarveCommands

@Suite struct HeapDiffTests {
    private struct Point: Persistable {
        var x: Int
        var y: Int
    }

    private let folder = TemporaryFolder("varve-heap")
    private var path: String { folder.path + "/heap.varve" }

    private func text(_ number: Int) -> String { "the number \(number), in some words" }

    /// Two snapshots, "before" and "after", of roots of every kind.
    private func fill() throws {
        let heap = try PersistentHeap.open(path, options: .init(capacity: 1 << 24))
        let numbers: PersistentDictionary<Int, String> = try heap.root("numbers")
        let prices: PersistentSortedMap<String, Double> = try heap.root("prices")
        let list: PersistentArray<Int> = try heap.root("list")
        let seen: PersistentSet<String> = try heap.root("seen")
        let index: PersistentDictionary<String, PersistentArray<Int32>> = try heap.root("index")
        let points: PersistentArray<Point> = try heap.root("points")
        let point = try heap.root("point", of: Point.self, default: Point(x: 1, y: 2))
        let count = try heap.root("count", of: Int.self, default: 1)
        let same: PersistentSet<Int> = try heap.root("same")
        let _ = try heap.root("gone", of: Bool.self, default: true)
        for number in 0..<2000 {
            try numbers.setValue(text(number), forKey: number)
            try prices.setValue(Double(number) / 2, forKey: text(number))
            try seen.insert(text(number))
            try same.insert(number)
        }
        try list.append(contentsOf: [1, 2, 3])
        try index.collection(forKey: "a").append(1)
        try points.append(contentsOf: [Point(x: 1, y: 1), Point(x: 2, y: 2)])
        try heap.commit(snapshot: "before")
        numbers[17] = "seventeen"
        numbers[5] = nil
        numbers[-1] = "less"
        prices[text(3)] = 0.25
        try list.append(4)
        list[0] = -1
        try seen.remove(text(9))
        try seen.insert("new")
        try index.collection(forKey: "a").append(2)
        points[1] = Point(x: 2, y: 3)
        point.value.y = 9
        count.value = 2
        // Other places, and the same members.
        try same.reserveCapacity(20_000)
        try heap.removeRoot("gone")
        let _ = try heap.root("made", of: UInt8.self, default: 3)
        try heap.commit(snapshot: "after")
        try heap.close()
    }

    @Test func whatDiffersIsListed() throws {
        try fill()
        let outcome = run(["heap", "diff", path, "before", "after"])
        #expect(outcome.code == 1, "\(outcome.errors)")
        #expect(
            outcome.text.split(separator: "\n").map(String.init) == [
                "~ count: Int", "    1 → 2", "- gone: Bool", "~ index: PersistentDictionary<String, PersistentArray<Int32>>",
                "  ~ \"a\": [1] → [1, 2]", "~ list: PersistentArray<Int>", "  ~ 0: 1 → -1", "  + 3: 4", "+ made: UInt8",
                "~ numbers: PersistentDictionary<Int, String>", "  + -1: \"less\"", "  - 5: \"\(text(5))\"",
                "  ~ 17: \"\(text(17))\" → \"seventeen\"", "~ point: Point{x@0: Int, y@8: Int} (compared by bytes)",
                "    0x01000000000000000200000000000000 → 0x01000000000000000900000000000000",
                "~ points: PersistentArray<Point{x@0: Int, y@8: Int}> (compared by bytes)",
                "  ~ 1: 0x02000000000000000200000000000000 → 0x02000000000000000300000000000000",
                "~ prices: PersistentSortedMap<String, Double>", "  ~ \"\(text(3))\": 1.5 → 0.25", "~ seen: PersistentSet<String>",
                "  + \"new\"", "  - \"\(text(9))\"",
            ])
        let backwards = run(["heap", "diff", path, "after", "before"])
        #expect(backwards.code == 1 && backwards.text.contains("+ gone: Bool") && backwards.text.contains("  - -1: \"less\""))
        let nothing = run(["heap", "diff", path, "after"])
        #expect(nothing.code == 0 && nothing.text.contains("No differences between after and head."))
    }

    @Test func programsReadItToo() throws {
        try fill()
        let answer = try run(["heap", "diff", path, "before", "--json"]).json()
        #expect(answer["different"] as? Bool == true && (answer["b"] as? [String: Any])?["state"] as? String == "head")
        let roots = try #require(answer["roots"] as? [[String: Any]])
        func root(_ name: String) throws -> [String: Any] { try #require(roots.first { $0["name"] as? String == name }) }
        #expect(roots.compactMap { $0["kind"] as? String }.filter { $0 != "changed" } == ["removed", "added"])
        #expect(try root("count")["before"] as? Int == 1 && root("count")["after"] as? Int == 2)
        #expect(try root("gone")["type_after"] is NSNull && root("gone")["type_before"] as? String == "Bool")
        let elements = try #require(try root("numbers")["elements"] as? [[String: Any]])
        #expect(elements.map { $0["place"] as? Int } == [-1, 5, 17] && elements[2]["after"] as? String == "seventeen")
        #expect(try root("points")["by_bytes"] as? Bool == true && root("numbers")["by_bytes"] as? Bool == false)
        let some = try run(["heap", "diff", path, "before", "--json", "--limit", "1"]).json()
        let numbers = try #require((some["roots"] as? [[String: Any]])?.first { $0["name"] as? String == "numbers" })
        #expect((numbers["elements"] as? [Any])?.count == 1 && numbers["changed_elements"] as? Int == 3)
    }

    @Test func whatCannotBeComparedIsSaid() throws {
        try fill()
        #expect(run(["heap", "diff", path, "before", "never"]).code != 0)
        #expect(run(["heap", "diff", path, "before", "--heap", "other"]).code != 0)
        #expect(run(["heap", "diff", path, "before", "--limit", "-1"]).code == 64)
        // A version in which there was no heap.
        #expect(run(["heap", "diff", path, "0"]).code > 1)
    }
}
