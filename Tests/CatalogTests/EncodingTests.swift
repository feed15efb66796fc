import TestSupport
import Testing
import VMTypes

@testable import Catalog

@Suite struct EncodingTests {
    @Test func everyKindComesBack() throws {
        let map = [
            entry(1, 0..<2, object: .max, base: 1 << 44), entry(1, 5..<7, base: 1 << 63, copied: true),
            CatalogEntry(
                task: TaskID(1), start: 4096, end: 0, object: ObjectID(0), offset: .max,
                current: Protection(rawValue: -1), maximum: .none, inheritance: .none),
        ]
        let changes: [CatalogChange] = [
            .createObject(id: ObjectID(.max), name: "naïve 🧪", size: 1 << 40, residency: 255),
            .createObject(id: ObjectID(0), name: nil, size: 0, residency: 0),
            .renameObject(id: ObjectID(127), name: ""), .renameObject(id: ObjectID(128), name: nil),
            .resizeObject(id: ObjectID(1), size: .max), .deleteObject(id: ObjectID(300)),
            .createTask(id: TaskID(1), name: "t", windowBase: 1 << 63, windowSize: 1 << 36),
            .deleteTask(id: TaskID(1)), .setEntries(task: TaskID(1), start: 9, end: 3, entries: map),
            .setEntries(task: TaskID(2), start: 0, end: .max, entries: []),
            .createSnapshot(name: "s", version: .infinity, object: ObjectID(3), message: "a\0b"),
            .createSnapshot(name: "s", version: Version(1), object: nil, message: ""),
            .deleteSnapshot(name: "s"), .renameSnapshot(from: "a", to: "b"), .rollback(to: Version(12)),
        ]
        let bytes = CatalogChange.encode(changes)
        #expect(try CatalogChange.decode(bytes) == changes)
        #expect(try CatalogChange.decode(CatalogChange.encode([])) == [])
        for length in 0..<bytes.count {
            #expect(code { _ = try CatalogChange.decode(Array(bytes[..<length])) } == .damaged)
        }
        #expect(code { _ = try CatalogChange.decode(bytes + [0]) } == .damaged)
    }

    @Test func theBytesAreThoseOfTheFormat() {
        let changes: [CatalogChange] = [
            .createObject(id: ObjectID(300), name: "hi", size: 4096, residency: 2),
            .setEntries(
                task: TaskID(5), start: 0x1000, end: 0x3000, entries: [entry(5, 1..<3, object: 7, copied: true)]),
        ]
        let expected: [UInt8] = [
            1, 2,
            1, 0xac, 0x02, 1, 2, 0x68, 0x69, 0x80, 0x20, 2,
            7, 5, 0x80, 0x20, 0x80, 0x40, 1, 0b0111, 0, 0x80, 0x40, 7, 0, 3, 7,
        ]
        #expect(CatalogChange.encode(changes) == expected)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func randomBytesNeverTrap(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let base = CatalogChange.encode([
            .setEntries(
                task: TaskID(1), start: 0, end: 1 << 20, entries: (0..<20).map { entry(1, $0..<$0 + 1, object: $0) }),
            .createSnapshot(name: "snapshot", version: Version(70_000), object: ObjectID(1), message: "message"),
            .createTask(id: TaskID(1), name: "task", windowBase: 1 << 44, windowSize: 1 << 36),
        ])
        for round in 0..<20_000 {
            var bytes: [UInt8]
            if round % 2 == 0 {
                bytes = (0..<Int.random(in: 0...60, using: &random)).map { _ in .random(in: 0...255, using: &random) }
                if !bytes.isEmpty { bytes[0] = 1 }
                if bytes.count > 2 { (bytes[1], bytes[2]) = (bytes[1] & 3, bytes[2] % 13) }
            } else {
                bytes = base
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
                }
            }
            do throws(StoreError) {
                let changes = try CatalogChange.decode(bytes)
                #expect(CatalogChange.encode(changes) == bytes, "seed \(seed), round \(round)")
                for change in changes { _ = change.problem }
            } catch {
                #expect(error.code == .damaged, "seed \(seed), round \(round)")
            }
        }
    }
}
