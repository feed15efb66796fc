import Foundation
import Testing
import Varve

@testable import VarveCommands

/// `varve maps`, and what `varve rm` does to an object that a task maps.
@Suite struct MapsCommandTests {
    private let store = TestStore()
    private let object: ObjectID
    private let memory: ObjectID
    private let base: UInt64

    /// Of a task, two regions at snapshot `s`, of which one is no more, and one region since.
    init() throws {
        let opened = try Store.open(store.path)
        let task = try opened.task(named: "main")
        base = task.windowBase
        let info = try opened.createObject(named: "table", size: 8 * 4096)
        try task.map(
            address: base + 0x10000, size: 0x4000, anywhere: false, object: info, offset: 0x2000, current: .read, maximum: .default,
            inheritance: .share)
        try task.map(address: base + 0x20000, size: 0x1000, anywhere: false, inheritance: .none)
        object = info.id
        memory = try #require(try task.region(base + 0x20000).object)
        try opened.commit(snapshot: "s")
        try task.deallocate(address: base + 0x20000, size: 0x1000)
        try task.map(address: base + 0x30000, size: 0x8000, anywhere: false, object: info, copy: true)
        try opened.commit()
        _ = try opened.task(named: "empty")
        try opened.commit()
        try opened.close()
    }

    private func hex(_ offset: UInt64) -> String { String(base + offset, radix: 16) }

    @Test func withoutATaskItListsThem() throws {
        #expect(store("maps").text.split(separator: "\n").contains("main"))
        let names = try #require(try store("maps", "--json").json()["tasks"] as? [String])
        #expect(names.contains("main") && names == names.sorted())
        let empty = TestStore()
        #expect(empty("maps").text == "No tasks.\n")
    }

    @Test func aLineIsARegion() throws {
        let then = store("maps", "main@s")
        #expect(then.code == 0)
        #expect(
            then.text == """
                \(hex(0x10000))-\(hex(0x14000)) r--s rw- 00002000 \(object) table
                \(hex(0x20000))-\(hex(0x21000)) rw-n rwx 00000000 \(memory) [memory]

                """)
        let lines = store("maps", "main").text.split(separator: "\n")
        #expect(lines.count == 2 && lines[0].hasSuffix(" \(object) table"))
        #expect(lines[1].hasPrefix("\(hex(0x30000))-\(hex(0x38000)) rw-c rwx 00000000 ") && lines[1].hasSuffix(" [copy]"))
    }

    @Test func asJSON() throws {
        let shown = try store("maps", "main@s", "--json").json()
        #expect(shown["store"] as? String == store.path && shown["task"] as? String == "main")
        let regions = try #require(shown["regions"] as? [[String: Any]])
        #expect(regions.count == 2)
        let first = regions[0]
        #expect(Set(first.keys) == ["start", "end", "protection", "maximum", "inheritance", "copied", "object", "name", "offset"])
        #expect(first["start"] as? UInt64 == base + 0x10000 && first["end"] as? UInt64 == base + 0x14000)
        #expect(first["protection"] as? String == "r--" && first["maximum"] as? String == "rw-")
        #expect(first["inheritance"] as? String == "share" && first["copied"] as? Bool == false)
        #expect(first["object"] as? UInt64 == object.rawValue && first["name"] as? String == "table" && first["offset"] as? Int == 0x2000)
        #expect(regions[1]["name"] as? String == "" && regions[1]["inheritance"] as? String == "none")
        let now = try #require(try store("maps", "main", "--json").json()["regions"] as? [[String: Any]])
        #expect(now.map { $0["copied"] as? Bool } == [false, true])
    }

    @Test func whatIsNotThereIsNotFound() throws {
        for name in ["nobody", "main@nothing", "nobody@s"] {
            #expect(store("maps", name).code == 2)
            #expect(try store("maps", name, "--json").jsonError()["code"] as? String == "notFound")
        }
    }

    // MARK: varve rm

    @Test func anObjectThatATaskMapsStaysUnlessItsRegionsGoToo() throws {
        let refused = store("rm", "table", "--yes", "--json")
        #expect(refused.code != 0)
        let error = try refused.jsonError()
        #expect(error["code"] as? String == "busy")
        let message = try #require(error["message"] as? String)
        #expect(message.contains("'main'") && message.contains(hex(0x10000)))
        #expect(store("maps", "main").text.split(separator: "\n").count == 2)

        #expect(store("rm", "table", "--unmap", "--yes").code == 0)
        #expect(!store("ls").text.contains("table"))
        // The copy is an object of its own, and the past is as it was.
        let lines = store("maps", "main").text.split(separator: "\n")
        #expect(lines.count == 1 && lines[0].hasSuffix(" [copy]"))
        #expect(store("maps", "main@s").text.split(separator: "\n").count == 2)
        #expect(store("verify").code == 0)
        #expect(store("clone", "table@s", "again").code == 0)
    }
}
