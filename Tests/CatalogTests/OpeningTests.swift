import Foundation
import TestSupport
import Testing
import VMTypes

@testable import Catalog

@Suite struct OpeningTests {
    @Test func aNewCatalogIsOneWholeFile() throws {
        let folder = try Fixture.makeFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Catalog.create(path: folder + "/c", storeID: Fixture.storeID)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["c"])
        #expect(code { try Catalog.create(path: folder + "/c", storeID: Fixture.storeID) } == .storeExists)
        #expect(code { try Catalog.create(path: folder + "/d", storeID: [1]) } == .invalid)
        #expect(code { try Catalog.create(path: folder + "/no/d", storeID: Fixture.storeID) } == .io)
        #expect(code { _ = try Catalog.open(path: folder + "/e", storeID: Fixture.storeID) } == .noStore)
        #expect(!FileManager.default.fileExists(atPath: folder + "/e"))
    }

    @Test func anotherStoresCatalogIsRefused() throws {
        let f = try Fixture()
        let other = [UInt8](repeating: 0xab, count: 16)
        do {
            _ = try f.reopen(storeID: other)
            Issue.record("it was opened")
        } catch {
            #expect(error.code == .mismatchedFiles)
            #expect(error.message.contains("abab") && error.message.contains("0102"))
        }
    }

    @Test func aNewerFormatIsRefusedByName() throws {
        let f = try Fixture()
        try f.reopen(adding: ["CREATE TABLE later (x) ", "CREATE TABLE latest (x)"]).close()
        do {
            _ = try f.reopen()
            Issue.record("it was opened")
        } catch {
            #expect(error.code == .newerFormat)
            #expect(error.message.contains("format 4") && error.message.contains("format 2"))
            #expect(error.path == f.path)
        }
    }

    @Test func anOlderFormatIsMigrated() throws {
        let f = try Fixture()
        try f.commit(1, .createObject(id: ObjectID(1), name: "kept", size: 1, residency: 0))
        let steps = ["ALTER TABLE snapshots ADD COLUMN colour TEXT"]
        #expect(code { _ = try f.reopen(readOnly: true, adding: steps) } == .readOnly)
        let migrated = try f.reopen(adding: steps)
        defer { migrated.close() }
        #expect(try migrated.object(named: "kept")?.size == 1)
        #expect(try migrated.check() == [])
        #expect(Catalog.currentFormat == 2)
    }

    @Test func readOnlyReadsAndChangesNothing() throws {
        let f = try Fixture()
        try f.commit(1, .createObject(id: ObjectID(1), name: "o", size: 1, residency: 0))
        let reader = try f.reopen(readOnly: true)
        defer { reader.close() }
        #expect(try reader.objects().count == 1)
        #expect(code { try reader.apply([CatalogCommit(version: Version(2), time: 0)]) } == .readOnly)
        #expect(code { try reader.forget(before: Version(2)) } == .readOnly)
        try f.commit(2, .createObject(id: ObjectID(2), name: "p", size: 1, residency: 0))
        #expect(try reader.mark == Version(2))
        #expect(try reader.check() == [])
    }

    @Test func aClosedCatalogSaysSo() throws {
        let f = try Fixture()
        f.catalog.close()
        f.catalog.close()
        #expect(code { _ = try f.catalog.mark } == .wrongState)
    }

    @Test func noFileIsACatalogUnlessItSaysSo() throws {
        let folder = try Fixture.makeFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for content in [Data(), Data(repeating: 7, count: 5000), Data("SQLite format 3\0".utf8)] {
            try content.write(to: URL(fileURLWithPath: folder + "/c"))
            #expect(code { _ = try Catalog.open(path: folder + "/c", storeID: Fixture.storeID) } == .damaged)
        }
        #expect(code { _ = try Catalog.open(path: folder, storeID: Fixture.storeID) } == .io)
    }

    @Test(arguments: [11, 12] as [UInt64]) func damageIsAnErrorNeverATrap(seed: UInt64) throws {
        let f = try Fixture()
        let task = TaskID(1)
        try f.commit(1, .createTask(id: task, name: "t", windowBase: 0, windowSize: 1 << 40))
        for n in 2..<60 as Range<UInt64> {
            try f.commit(
                n, .createObject(id: ObjectID(n), name: "object \(n)", size: n, residency: 0),
                .setEntries(
                    task: task, start: 0, end: 64 << 12, entries: (0..<10).map { entry(1, $0..<$0 + 1, object: n) }),
                .createSnapshot(name: "s\(n)", version: Version(n), object: nil, message: "m"))
        }
        f.catalog.close()
        let whole = try Data(contentsOf: URL(fileURLWithPath: f.path))
        var random = SeededGenerator(seed: seed)
        var errors = 0
        for round in 0..<120 {
            var bytes = whole
            if round % 8 == 0 {
                bytes = Data(whole.prefix(Int.random(in: 0..<whole.count, using: &random)))
            } else {
                for _ in 0..<(round % 4 == 1 ? 1 : 200) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
                }
            }
            try? FileManager.default.removeItem(atPath: f.path + "-journal")
            try bytes.write(to: URL(fileURLWithPath: f.path))
            do throws(StoreError) {
                let catalog = try Catalog.open(path: f.path, storeID: Fixture.storeID)
                defer { catalog.close() }
                _ = try catalog.check()
                _ = try catalog.objects()
                _ = try catalog.tasks()
                _ = try catalog.entries(of: task, at: Version(30))
                _ = try catalog.snapshots()
                _ = try catalog.log()
                let commit = CatalogCommit(version: Version(1000), time: 0, changes: [.rollback(to: Version(20))])
                try catalog.apply([commit])
                try catalog.forget(before: Version(40))
            } catch {
                errors += 1
                let expected: Set<StoreError.Code> = [.damaged, .mismatchedFiles, .newerFormat]
                #expect(expected.contains(error.code), "seed \(seed), round \(round): \(error)")
            }
        }
        #expect(errors > 20)
    }
}
