import Testing
import VMTypes

@testable import Catalog

@Suite struct CheckTests {
    /// Faults are planted by a step that runs when the catalog is opened again.
    @Test(arguments: [
        ("INSERT INTO objects VALUES (1, 1, 9223372036854775807, 'a', 0, 0)", "has two states at version 2"),
        ("INSERT INTO objects VALUES (8, 1, 9223372036854775807, 'o', 0, 0)", "several objects are called o"),
        ("UPDATE store SET mark = 1", "later than the mark"),
        ("UPDATE entries SET past = 8192 WHERE first = 0", "overlaps"),
        ("UPDATE entries SET past = 0 WHERE first = 0", "is empty or not page-aligned"),
        ("UPDATE tasks SET died = 3", "without it"),
    ]) func plantedFaultsAreFound(sql: String, problem: String) throws {
        let f = try Fixture()
        try f.commit(
            1, .createTask(id: TaskID(1), name: "t", windowBase: 0, windowSize: 1 << 30))
        try f.commit(
            2, .createObject(id: ObjectID(1), name: "o", size: 0, residency: 0),
            .setEntries(task: TaskID(1), start: 0, end: 1 << 20, entries: [entry(1, 0..<1), entry(1, 1..<2)]))
        try f.commit(3)
        #expect(try f.catalog.check() == [])
        let faulty = try f.reopen(adding: [sql])
        defer { faulty.close() }
        let problems = try faulty.check()
        #expect(problems.contains { $0.contains(problem) }, "\(problems)")
    }

    @Test func lookupsNeverReadAWholeTable() throws {
        let f = try Fixture()
        for sql in CatalogSQL.lookups {
            let plan = try f.catalog.queryPlan(sql)
            #expect(!plan.isEmpty)
            #expect(!plan.contains { $0.hasPrefix("SCAN") }, "\(sql): \(plan)")
        }
    }

    @Test func anEntryOfManyIsReplacedQuickly() throws {
        let f = try Fixture()
        try f.commit(1, .createTask(id: TaskID(1), name: "t", windowBase: 0, windowSize: 1 << 40))
        let many = (0..<20_000 as Range<UInt64>).map { entry(1, $0 * 2..<$0 * 2 + 1, object: $0) }
        try f.commit(2, .setEntries(task: TaskID(1), start: 0, end: 40_000 << 12, entries: many))
        let commits = (3..<1003 as Range<UInt64>).map { n in
            let change = CatalogChange.setEntries(
                task: TaskID(1), start: 20_000 << 12, end: 20_001 << 12,
                entries: [entry(1, 20_000..<20_001, object: n)])
            return CatalogCommit(version: Version(n), time: 0, changes: [change])
        }
        let time = try ContinuousClock().measure { try f.catalog.apply(commits) }
        #expect(time < .seconds(10), "a thousand replacements took \(time)")
        #expect(try f.catalog.entries(of: TaskID(1)).count == 20_000)
        #expect(try f.catalog.check() == [])
    }
}
