import Foundation
import GRDB
import TestSupport
import Testing
import VMTypes

@testable import Catalog
@testable import PageStore
@testable import VirtualMemory

/// Values that a program may pass or a damaged file may hold: an error, and nothing is left behind.
@Suite struct WildValuesTests {
    @Test(arguments: [Int.max - 4095, Int.max, 1 << 62, (1 << 46) + 4096, 0, -4096, 300_000])
    func aRingThatCannotBe(bytes: Int) throws {
        let folder = TemporaryFolder("wild")
        #expect(throws: StoreError.self) { try Store.create(folder.path + "/s", options: .init(ringBytes: bytes)) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
    }

    @Test(arguments: [1, 0, 0xffff_ffff_ffff_f000, 0x7fff_ffff_f000, 0x7ff0_0000_0000 + 0xf_ffff_f000, 1 << 63] as [UInt64])
    func aWindowBaseThatCannotBe(base: UInt64) throws {
        let folder = TemporaryFolder("wild")
        do {
            try Store.create(folder.path + "/s", options: .init(windowBase: base))
            Issue.record("it was made")
        } catch { #expect(error.code == .invalid, "\(error)") }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
    }

    @Test func aNegativeLimitOfTheLogIsNone() throws {
        let folder = TemporaryFolder("wild")
        try Store.create(folder.path + "/s")
        let store = try Store.open(folder.path + "/s")
        _ = try store.createObject(named: "o", size: 4096)
        try store.commit()
        #expect(try store.log(limit: -1).isEmpty)
        #expect(try store.log(limit: 1).count == 1)
        try store.close()
    }

    /// A sparse file that somebody extends while it is read has data only beyond what is read.
    @Test func dataBeyondTheSizeIsNotThere() throws {
        let folder = TemporaryFolder("wild")
        let path = folder.path + "/sparse"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        #expect(truncate(path, 1 << 20) == 0)
        let file = try HostFile(path, O_RDONLY)
        let other = open(path, O_WRONLY)
        defer { close(other) }
        #expect(pwrite(other, "x", 1, 2 << 20) == 1)
        #expect(try file.nextData(from: 0, size: 1 << 20) == nil)
        #expect(try file.nextData(from: 0, size: (2 << 20) + 1)?.lowerBound == 2 << 20)
    }

    private static let base: UInt64 = 1 << 40

    /// Maps that no task ever had: base, size, and an entry's start, end and offset.
    @Test(arguments: [
        (base, UInt64(1) << 63, nil), (UInt64.max - 4095, 1 << 36, nil), (base + 1, 1 << 36, nil),
        (base, 1 << 36, (base - 4096, base + 4096, 0)), (base, 1 << 36, (base + 8192, base + 4096, 0)),
        (base, 1 << 36, (base, base + (1 << 36) + 4096, 0)), (base, 1 << 36, (base + 1, base + 4096, 0)),
        (base, 1 << 36, (base, base + 4096, 7)), (base, 1 << 36, (base, base + 8192, UInt64.max - 4095)),
    ] as [(UInt64, UInt64, (UInt64, UInt64, UInt64)?)])
    func aMapThatContradictsItself(base: UInt64, size: UInt64, entry: (UInt64, UInt64, UInt64)?) throws {
        let folder = TemporaryFolder("wild")
        try Store.create(folder.path + "/s")
        let store = try Store.open(folder.path + "/s")
        let entries = entry.map { [CatalogEntry(task: TaskID(1), start: $0.0, end: $0.1, object: ObjectID(1), offset: $0.2)] } ?? []
        let wild = Store.SavedTask(id: TaskID(1), name: "t", base: base, size: size, entries: entries)
        do {
            try store.checkWellFormed(wild)
            Issue.record("it was taken")
        } catch { #expect(error.code == .damaged && error.message.contains("'t'")) }
        try store.checkWellFormed(.init(id: TaskID(1), name: "t", base: Self.base, size: 1 << 36, entries: []))
        try store.close()
    }

    /// Of two tasks one has a map that contradicts itself: the other's is kept, and what is lost is said.
    @Test func repairKeepsTheMapsOfOtherTasks() throws {
        let folder = TemporaryFolder("wild")
        let path = folder.path + "/s"
        try Store.create(path)
        do {
            let store = try Store.open(path)
            for name in ["broken", "sound"] {
                let task = try store.task(named: name)
                let object = try store.createObject(named: name, size: 8192)
                task.pointer(try task.map(size: 8192, object: object)).storeBytes(of: 7, as: Int.self)
            }
            try store.commit()
            try store.close()
        }
        let queue = try CatalogFile.open(path + "/catalog.sqlite", readOnly: false)
        try queue.write { db in
            try db.execute(sql: "UPDATE entries SET past = first + 1 WHERE task = (SELECT task FROM tasks WHERE name = 'broken')")
        }
        try queue.close()
        do {
            let store = try Store.open(path)
            do {
                _ = try store.task(named: "broken")
                Issue.record("it was attached")
            } catch { #expect(error.code == .damaged && error.message.contains("'broken'"), "\(error)") }
            try store.close()
        }
        let report = try Store.repair(path, into: folder.path + "/copy")
        #expect(report.lost.contains { $0.contains("'broken'") } && !report.lost.contains { $0.contains("'sound'") }, "\(report.lost)")
        let copy = try Store.open(folder.path + "/copy")
        let regions = try copy.regions(ofTask: "sound")
        #expect(regions.count == 1 && regions.first?.objectName == "sound")
        let task = try copy.task(named: "sound")
        #expect(task.pointer(try #require(regions.first).start).load(as: Int.self) == 7)
        _ = try copy.task(named: "another")
        try copy.close()
    }
}
