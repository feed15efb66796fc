import Testing
import VMTypes

@testable import Catalog

@Suite struct ChangeTests {
    @Test func objectsAreMadeNamedResizedAndDeleted() throws {
        let f = try Fixture()
        try f.commit(1, .createObject(id: ObjectID(1), name: "heap", size: 10, residency: 1))
        try f.commit(2, .resizeObject(id: ObjectID(1), size: 20))
        try f.commit(3, .renameObject(id: ObjectID(1), name: "pile"), .renameObject(id: ObjectID(1), name: nil))
        try f.commit(4, .renameObject(id: ObjectID(1), name: "heap2"))
        try f.commit(5, .deleteObject(id: ObjectID(1)))
        let c = f.catalog
        #expect(try c.objects(at: Version(0)).isEmpty)
        #expect(try c.object(named: "heap", at: Version(1))?.size == 10)
        #expect(try c.object(named: "heap", at: Version(2))?.size == 20)
        #expect(try c.object(named: "heap", at: Version(3)) == nil)
        #expect(try c.object(named: "pile", at: Version(3)) == nil)
        #expect(
            try c.object(id: ObjectID(1), at: Version(3))
                == CatalogObject(id: ObjectID(1), name: nil, size: 20, residency: 1, since: Version(3)))
        #expect(try c.objects(at: Version(4)).map(\.name) == ["heap2"])
        #expect(try c.objects(at: .infinity).isEmpty)
        #expect(try c.object(id: ObjectID(1), at: Version(5)) == nil)
        #expect(try c.check() == [])
    }

    @Test func anObjectOfOneCommitOnlyWasNeverThere() throws {
        let f = try Fixture()
        try f.commit(
            1, .createObject(id: ObjectID(1), name: "a", size: 1, residency: 0), .deleteObject(id: ObjectID(1)))
        try f.commit(2, .createObject(id: ObjectID(1), name: "a", size: 2, residency: 0))
        try f.commit(
            3, .deleteObject(id: ObjectID(1)), .createObject(id: ObjectID(1), name: "b", size: 3, residency: 0))
        #expect(try f.catalog.objects(at: Version(1)).isEmpty)
        #expect(try f.catalog.objects(at: Version(2)).map(\.size) == [2])
        #expect(try f.catalog.objects(at: Version(3)).map(\.size) == [3])
        #expect(try f.catalog.check() == [])
    }

    @Test func tasksEndWithTheirEntries() throws {
        let f = try Fixture()
        try f.commit(1, .createTask(id: TaskID(7), name: "main", windowBase: 1 << 44, windowSize: 1 << 36))
        let map = [entry(7, 0..<2, object: 3), entry(7, 2..<4)]
        try f.commit(2, .setEntries(task: TaskID(7), start: 0, end: 4 * 4096, entries: map))
        try f.commit(3, .deleteTask(id: TaskID(7)))
        #expect(try f.catalog.task(named: "main", at: Version(2))?.windowBase == 1 << 44)
        #expect(try f.catalog.entries(of: TaskID(7), at: Version(1)).isEmpty)
        #expect(try f.catalog.entries(of: TaskID(7), at: Version(2)) == map)
        #expect(try f.catalog.entries(of: TaskID(7), at: .infinity).isEmpty)
        #expect(try f.catalog.tasks(at: .infinity).isEmpty)
        #expect(try f.catalog.task(id: TaskID(7), at: Version(2))?.name == "main")
        #expect(try f.catalog.check() == [])
    }

    @Test func entriesAreReplacedWithinTheirRange() throws {
        let f = try Fixture()
        try f.commit(1, .createTask(id: TaskID(1), name: "t", windowBase: 0, windowSize: 1 << 30))
        let before = [entry(1, 0..<2), entry(1, 2..<4), entry(1, 6..<8)]
        try f.commit(2, .setEntries(task: TaskID(1), start: 0, end: 8 * 4096, entries: before))
        let middle = [entry(1, 2..<3, object: 9), entry(1, 4..<5, object: 9, copied: true)]
        try f.commit(3, .setEntries(task: TaskID(1), start: 2 * 4096, end: 6 * 4096, entries: middle))
        // The first entry reaches into this range and ends whole.
        try f.commit(4, .setEntries(task: TaskID(1), start: 4096, end: 2 * 4096, entries: []))
        #expect(try f.catalog.entries(of: TaskID(1), at: Version(2)) == before)
        #expect(try f.catalog.entries(of: TaskID(1), at: Version(3)) == [before[0]] + middle + [before[2]])
        #expect(try f.catalog.entries(of: TaskID(1), at: .infinity) == middle + [before[2]])
        #expect(try f.catalog.check() == [])
    }

    @Test func addressesAndNumbersUseAllBits() throws {
        let f = try Fixture()
        let id = UInt64.max
        let base: UInt64 = 1 << 63
        try f.commit(
            1, .createTask(id: TaskID(id), name: "high", windowBase: base, windowSize: .max),
            .createObject(id: ObjectID(id), name: "high", size: .max, residency: 255))
        let low = entry(id, 0..<2, object: id, base: base - 4 * 4096)
        let across = entry(id, 0..<4, object: id, base: base - 2 * 4096)
        let high = entry(id, 2..<4, base: base)
        let all: CatalogChange = .setEntries(
            task: TaskID(id), start: base - 4 * 4096, end: base + 4 * 4096, entries: [high, across, low])
        try f.commit(2, all)
        #expect(try f.catalog.entries(of: TaskID(id)) == [low, across, high])
        try f.commit(3, .setEntries(task: TaskID(id), start: base, end: base + 4096, entries: []))
        #expect(try f.catalog.entries(of: TaskID(id)) == [low, high])
        #expect(try f.catalog.object(id: ObjectID(id))?.size == .max)
        #expect(try f.catalog.task(id: TaskID(id))?.windowSize == .max)
        #expect(try f.catalog.check() == [])
    }

    @Test func snapshotsAreMadeRenamedAndDeleted() throws {
        let f = try Fixture()
        try f.commit(1, .createSnapshot(name: "a", version: Version(1), object: nil, message: "first"))
        try f.commit(2, .createSnapshot(name: "b", version: Version(1), object: ObjectID(4), message: "x\0y"))
        #expect(try f.catalog.snapshots().map(\.name) == ["a", "b"])
        #expect(try f.catalog.snapshot(named: "b")?.message == "x\u{fffd}y")
        #expect(try f.catalog.snapshot(named: "b")?.object == ObjectID(4))
        try f.commit(3, .renameSnapshot(from: "b", to: "c"), .deleteSnapshot(name: "a"))
        let left = CatalogSnapshot(
            name: "c", version: Version(1), object: ObjectID(4), message: "x\u{fffd}y", time: 2)
        #expect(try f.catalog.snapshots() == [left])
    }

    @Test func rollbackBringsTasksBackAndLeavesObjects() throws {
        let f = try Fixture()
        let task = TaskID(1)
        try f.commit(
            1, .createTask(id: task, name: "t", windowBase: 0, windowSize: 1 << 30),
            .createObject(id: ObjectID(1), name: "o", size: 1, residency: 0),
            .setEntries(task: task, start: 0, end: 8192, entries: [entry(1, 0..<2)]))
        try f.commit(
            2, .setEntries(task: task, start: 0, end: 8192, entries: [entry(1, 0..<1), entry(1, 1..<2, object: 1)]),
            .createTask(id: TaskID(2), name: "u", windowBase: 0, windowSize: 1))
        try f.commit(3, .deleteTask(id: task), .resizeObject(id: ObjectID(1), size: 9))
        try f.commit(4, .rollback(to: Version(1)))
        #expect(try f.catalog.tasks().map(\.name) == ["t"])
        #expect(try f.catalog.entries(of: task) == [entry(1, 0..<2)])
        #expect(try f.catalog.entries(of: task, at: Version(2)).count == 2)
        #expect(try f.catalog.tasks(at: Version(3)).map(\.name) == ["u"])
        #expect(try f.catalog.object(id: ObjectID(1))?.size == 9)
        try f.commit(5, .rollback(to: Version(2)), .rollback(to: Version(5)))
        #expect(try f.catalog.tasks().map(\.name) == ["t", "u"])
        #expect(try f.catalog.entries(of: task).count == 2)
        #expect(try f.catalog.log(limit: 1).first?.kinds == .rollback)
        #expect(try f.catalog.check() == [])
    }

    @Test func whatIsNotThereIsNotedAndNothingElse() throws {
        let f = try Fixture()
        let notes = try f.commit(
            1, .renameObject(id: ObjectID(1), name: "x"), .resizeObject(id: ObjectID(1), size: 1),
            .deleteObject(id: ObjectID(1)), .deleteTask(id: TaskID(1)), .deleteSnapshot(name: "s"),
            .renameSnapshot(from: "s", to: "t"),
            .setEntries(task: TaskID(1), start: 0, end: 4096, entries: [entry(1, 0..<1)]))
        #expect(notes.count == 7)
        #expect(try f.catalog.check() == [])
        #expect(try f.catalog.mark == Version(1))
    }

    @Test func malformedChangesAreRefusedWhole() throws {
        let f = try Fixture()
        try f.commit(1, .createTask(id: TaskID(1), name: "t", windowBase: 0, windowSize: 1 << 30))
        let bad: [CatalogChange] = [
            .createObject(id: ObjectID(1), name: "", size: 0, residency: 0),
            .renameObject(id: ObjectID(1), name: "a\0b"),
            .setEntries(task: TaskID(1), start: 4096, end: 0, entries: []),
            .setEntries(task: TaskID(1), start: 0, end: 4096, entries: [entry(2, 0..<1)]),
            .setEntries(task: TaskID(1), start: 0, end: 4096, entries: [entry(1, 0..<2)]),
            .setEntries(task: TaskID(1), start: 0, end: 4096, entries: [entry(1, 0..<1, base: 1)]),
            .setEntries(task: TaskID(1), start: 0, end: 9 << 12, entries: [entry(1, 0..<2), entry(1, 1..<3)]),
            .createSnapshot(name: "s", version: .infinity, object: nil, message: ""),
        ]
        for change in bad {
            let good = CatalogChange.createObject(id: ObjectID(5), name: "n", size: 0, residency: 0)
            #expect(code { try f.commit(2, good, change) } == .invalid)
        }
        #expect(code { try f.commit(.max) } == .invalid)
        #expect(try f.catalog.mark == Version(1))
        #expect(try f.catalog.objects().isEmpty)
    }

    @Test func appliedVersionsAreSkipped() throws {
        let f = try Fixture()
        let commits = (1...5).map { n in
            CatalogCommit(
                version: Version(UInt64(n)), time: .nan, message: "m\(n)", pages: n, bytes: n * 4096,
                changes: [.createObject(id: ObjectID(UInt64(n)), name: "o\(n)", size: 1, residency: 0)])
        }
        try f.catalog.apply(Array(commits[..<3]))
        try f.catalog.apply(commits)
        try f.catalog.apply(commits)
        #expect(try f.catalog.objects().count == 5)
        #expect(try f.catalog.log(limit: nil, before: nil).map(\.version.rawValue) == [5, 4, 3, 2, 1])
        #expect(try f.catalog.log(limit: 2, before: Version(4)).map(\.message) == ["m3", "m2"])
        #expect(try f.catalog.log(limit: 1).first?.bytes == 5 * 4096)
        #expect(try f.catalog.mark == Version(5))
        #expect(code { try f.catalog.apply([commits[4], commits[3]]) } == .invalid)
    }

    @Test func forgettingKeepsWhatSnapshotsShow() throws {
        let f = try Fixture()
        try f.commit(
            1, .createObject(id: ObjectID(1), name: "a", size: 1, residency: 0),
            .createTask(id: TaskID(1), name: "gone", windowBase: 0, windowSize: 1))
        try f.commit(2, .resizeObject(id: ObjectID(1), size: 2), .deleteTask(id: TaskID(1)))
        try f.commit(3, .resizeObject(id: ObjectID(1), size: 3))
        try f.commit(4, .resizeObject(id: ObjectID(1), size: 4))
        try f.commit(5, .createSnapshot(name: "s", version: Version(2), object: nil, message: ""))
        try f.catalog.forget(before: Version(4))
        #expect(try f.catalog.object(id: ObjectID(1), at: Version(1)) == nil)
        #expect(try f.catalog.object(id: ObjectID(1), at: Version(2))?.size == 2)
        #expect(try f.catalog.object(id: ObjectID(1), at: Version(3)) == nil)
        #expect(try f.catalog.object(id: ObjectID(1), at: Version(4))?.size == 4)
        #expect(try f.catalog.tasks(at: Version(1)).isEmpty)
        #expect(try f.catalog.log().map(\.version.rawValue) == [5, 4, 2])
        #expect(try f.catalog.check() == [])
    }
}
