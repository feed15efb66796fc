import Foundation
import GRDB
import TestSupport
import Testing
import VMTypes

@testable import Catalog

/// Every page that is read is what was written there, or an error.
@Suite struct ChecksumTests {
    private static let page = 4096

    /// Objects, tasks, entries and snapshots over several pages of each table.
    private static func fill(_ f: Fixture) throws {
        try f.commit(1, .createTask(id: TaskID(1), name: "t", windowBase: 0, windowSize: 1 << 40))
        for n in 2..<200 as Range<UInt64> {
            try f.commit(
                n, .createObject(id: ObjectID(n), name: "object \(n)", size: n, residency: 0),
                .setEntries(task: TaskID(1), start: n << 20, end: (n + 1) << 20, entries: [entry(1, n << 8..<(n << 8) + 3, object: n)]),
                .createSnapshot(name: "s\(n)", version: Version(n), object: nil, message: "m"))
        }
    }

    private static func readAll(_ catalog: Catalog) throws(StoreError) -> [String] {
        var all = try catalog.objects().map { "\($0)" }
        all += try catalog.tasks().map { "\($0)" }
        all += try catalog.entries(of: TaskID(1), at: Version(90)).map { "\($0)" }
        all += try catalog.entries(of: TaskID(1)).map { "\($0)" }
        all += try catalog.snapshots().map { "\($0)" }
        return try all + catalog.log().map { "\($0)" }
    }

    @Test(arguments: [5, 6] as [UInt64]) func aFlippedBitIsNeverBelieved(seed: UInt64) throws {
        let f = try Fixture()
        try Self.fill(f)
        let said = try Self.readAll(f.catalog)
        f.catalog.close()
        let whole = try Data(contentsOf: URL(fileURLWithPath: f.path))
        #expect(whole.count > 20 * Self.page && whole.count % Self.page == 0)
        var random = SeededGenerator(seed: seed)
        for round in 0..<400 {
            var bytes = whole
            // Each page, the first most often: SQLite reads the header by itself.
            let at = round % 4 == 0 ? Int.random(in: 0..<100, using: &random) : Int.random(in: 0..<bytes.count, using: &random)
            bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            try bytes.write(to: URL(fileURLWithPath: f.path))
            let name = "page \(at / Self.page + 1) of the catalog"
            do throws(StoreError) {
                let catalog = try Catalog.open(path: f.path, storeID: Fixture.storeID, readOnly: round % 2 == 0)
                defer { catalog.close() }
                #expect(try catalog.check() == ["\(name) (4096 bytes) is not what was written"], "seed \(seed), byte \(at)")
                #expect(try Self.readAll(catalog) == said, "seed \(seed), byte \(at)")
            } catch {
                #expect(error.code == .damaged && error.message.contains(name), "seed \(seed), byte \(at): \(error)")
                #expect(error.path == f.path && error.advice.contains("varve repair"))
            }
        }
    }

    @Test func pagesThatChangedPlacesAreFound() throws {
        let f = try Fixture()
        try Self.fill(f)
        f.catalog.close()
        var bytes = try Data(contentsOf: URL(fileURLWithPath: f.path))
        let seventh = 6 * Self.page..<7 * Self.page, ninth = 8 * Self.page..<9 * Self.page
        let kept = Data(bytes[seventh])
        bytes.replaceSubrange(seventh, with: Data(bytes[ninth]))
        bytes.replaceSubrange(ninth, with: kept)
        try bytes.write(to: URL(fileURLWithPath: f.path))
        let catalog = try Catalog.open(path: f.path, storeID: Fixture.storeID, readOnly: true)
        defer { catalog.close() }
        let problems = try catalog.check()
        #expect(problems.map { $0.prefix(6) } == ["page 7", "page 9"], "\(problems)")
    }

    @Test func aFileThatWasCutIsDamaged() throws {
        let f = try Fixture()
        try Self.fill(f)
        f.catalog.close()
        let whole = try Data(contentsOf: URL(fileURLWithPath: f.path))
        for length in [1, 99, 100, 4095, whole.count - Self.page, whole.count - 1] {
            try whole.prefix(length).write(to: URL(fileURLWithPath: f.path))
            do throws(StoreError) {
                let catalog = try Catalog.open(path: f.path, storeID: Fixture.storeID)
                defer { catalog.close() }
                #expect(try !catalog.check().isEmpty, "\(length) bytes")
            } catch { #expect(error.code == .damaged, "\(length) bytes: \(error)") }
        }
    }

    /// SQLite need not write a page that it takes and frees in one transaction: a hole in the file is no damage.
    @Test func pagesThatWereNeverWrittenAreNoDamage() throws {
        let f = try Fixture()
        try f.commit(1, .createTask(id: TaskID(1), name: "t", windowBase: 0, windowSize: 1 << 40))
        try f.catalog.rest()
        try f.catalog.queue.write { db in
            try db.execute(sql: "CREATE TABLE much (n INTEGER PRIMARY KEY, b BLOB)")
            for n in 0..<2_000 { try db.execute(sql: "INSERT INTO much VALUES (?, zeroblob(3000))", arguments: [n]) }
            try db.execute(sql: "CREATE TABLE last (n)")
            try db.execute(sql: "INSERT INTO last VALUES (1)")
            try db.execute(sql: "DROP TABLE much")
        }
        #expect(try f.catalog.check() == [])
        try f.catalog.copy(to: f.folder + "/copy")
        let copy = try Catalog.open(path: f.folder + "/copy", storeID: Fixture.storeID)
        defer { copy.close() }
        #expect(try copy.check() == [])
        for n in 2..<400 as Range<UInt64> {
            try f.commit(n, .createObject(id: ObjectID(n), name: String(repeating: "o", count: 900) + "\(n)", size: n, residency: 0))
        }
        #expect(try f.catalog.check() == [])
    }

    @Test(arguments: ["a b", "what?", "#1", "50%", "%41", "ü", "x&vfs=unix", "a//b"]) func anyPathWillDo(name: String) throws {
        let folder = try Fixture.makeFolder() + "/" + name
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for path in [folder + "/c", "/" + folder + "/d"] {
            try Catalog.create(path: path, storeID: Fixture.storeID)
            #expect(FileManager.default.fileExists(atPath: path))
            let catalog = try Catalog.open(path: path, storeID: Fixture.storeID)
            defer { catalog.close() }
            try catalog.apply([CatalogCommit(version: Version(1), time: 0)])
            #expect(try catalog.check() == [])
        }
    }

    /// A catalog as the first format was: made without the layer that adds checksums.
    private static func makeFirstFormat(_ path: String, objects: Int) throws {
        let queue = try DatabaseQueue(path: path)
        try CatalogSchema(steps: Array(CatalogSchema.current.steps.prefix(1))).migrate(queue)
        try queue.write { db in
            try db.execute(sql: "INSERT INTO store VALUES (1, ?, 7)", arguments: [Data(Fixture.storeID)])
            for n in 0..<objects {
                try db.execute(sql: "INSERT INTO objects VALUES (?, 1, 9223372036854775807, ?, 1, 0)", arguments: [n + 1, "kept \(n)"])
            }
        }
        try queue.close()
    }

    @Test func theFirstFormatIsGivenChecksums() throws {
        let folder = try Fixture.makeFolder(), path = folder + "/c"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Self.makeFirstFormat(path, objects: 500)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path))[20] == 0)
        #expect(code { _ = try Catalog.open(path: path, storeID: Fixture.storeID, readOnly: true) } == .readOnly)
        // `repair` reads it as it is.
        let old = try Catalog.openUnpaired(path: path)
        #expect(try old.objects().count == 500)
        old.close()
        #expect(chmod(path, 0o640) == 0)
        // What an attempt left that was killed.
        try Data("not whole".utf8).write(to: URL(fileURLWithPath: path + "-new"))
        try Data("not whole".utf8).write(to: URL(fileURLWithPath: path + "-new-journal"))
        let catalog = try Catalog.open(path: path, storeID: Fixture.storeID)
        #expect(try catalog.mark == Version(7))
        #expect(try catalog.objects().map(\.name).sorted { $0! < $1! } == (0..<500).map { "kept \($0)" }.sorted())
        #expect(try catalog.check() == [])
        try catalog.apply([CatalogCommit(version: Version(8), time: 0)])
        catalog.close()
        let left = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        #expect(left.filter { $0 != "c-journal" } == ["c"])
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(bytes[20] == 8)
        var found = stat()
        #expect(stat(path, &found) == 0 && found.st_mode & 0o777 == 0o640)
        bytes[bytes.count - 2000] ^= 1
        try bytes.write(to: URL(fileURLWithPath: path))
        let damaged = try Catalog.open(path: path, storeID: Fixture.storeID, readOnly: true)
        defer { damaged.close() }
        #expect(try damaged.check().count == 1)
    }

    @Test func theFirstFormatIsKeptWhereItCannotBeMigrated() throws {
        let folder = try Fixture.makeFolder(), path = folder + "/c"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Self.makeFirstFormat(path, objects: 3)
        // A folder where the copy would be: SQLite can't open it.
        try FileManager.default.createDirectory(atPath: path + "-new/x", withIntermediateDirectories: true)
        #expect(code { _ = try Catalog.open(path: path, storeID: Fixture.storeID) } == .io)
        try FileManager.default.removeItem(atPath: path + "-new")
        let catalog = try Catalog.open(path: path, storeID: Fixture.storeID)
        defer { catalog.close() }
        #expect(try catalog.objects().count == 3)
    }

    /// The last statement of a migration may fail: what was there is there still.
    @Test func aFailedStepLeavesTheFirstFormat() throws {
        let folder = try Fixture.makeFolder(), path = folder + "/c"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Self.makeFirstFormat(path, objects: 3)
        let before = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(throws: StoreError.self) {
            _ = try UnpairedCatalog(path: path, readOnly: false, schema: Fixture.schema(adding: ["NO SUCH STATEMENT"])).paired(with: Fixture.storeID)
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
        #expect(!FileManager.default.fileExists(atPath: path + "-new"))
    }
}
