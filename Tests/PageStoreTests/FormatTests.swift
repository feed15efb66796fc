import Foundation
import TestSupport
import Testing
import VMTypes

@testable import PageStore

/// docs/FORMAT.md against the bytes of a store: fields are found by the offsets that the page gives, not by the module's
/// own decoders.
@Suite struct FormatTests {
    private let folder = TemporaryFolder()

    private static func make(_ folder: String) throws -> (store: PageStore, object: ObjectID, heap: Heap) {
        _ = try PageStore.create(in: folder, options: .init(ringBytes: 1 << 20, windowBase: 0x1234_0000_0000))
        let store = try PageStore.open(folder)
        let heap = Heap(pages: 5)
        for page in [0, 2, 4] { heap.fill(page, UInt64(page + 1) << 40) }
        let object = ObjectID(store.newID())
        _ = try store.commit(
            [heap.layer(object, [0, 1, 2, 4])],
            operations: [
                .createObject(id: object, name: "tiny", size: UInt64(heap.count), residency: .exclusive), .message("né"),
            ])
        return (store, object, heap)
    }

    @Test func theTablesAddUp() throws {
        for (heading, bytes) in [
            ("Superblock", 4096), ("Record header", 128), ("Layer", 40), ("Entry", 20), ("Part header", 4080),
            ("Meta row", 125), ("Checkpoint head", 4080), ("Version row", 52), ("Chain row", 24), ("Lease slot", 64),
        ] {
            let layout = try Layout(heading)
            var next = 0
            for field in layout.fields {
                #expect(field.offset == next, "\(heading): \(field.name)")
                next = field.offset + field.count
            }
            #expect(next == bytes, "\(heading)")
        }
    }

    @Test func journalSuperblockAndRecord() throws {
        let (store, object, heap) = try Self.make(folder.path)
        defer { store.abandon() }
        let bytes = try Bytes(folder.path + "/journal")
        let superblock = try Layout("Superblock", in: bytes, at: 0)
        #expect(bytes.text(0, 8) == "VRVJOURN")
        #expect(superblock["magic"] == 0x4e52_554f_4a56_5256)
        #expect(superblock["format"] == 1 && superblock["page size"] == 4096 && superblock["ring"] == 1 << 20)
        #expect(superblock["checksum"] == bytes.sum(16..<4096))
        #expect(bytes.count == 4096 + 1 << 20)
        let uuid = bytes[24..<40]
        #expect(uuid == store.uuid.bytes[...])

        let record = try Layout("Record header", in: bytes, at: 4096)
        #expect(bytes.text(4096, 8) == "VARVEREC" && record["magic"] == 0x4345_5245_5652_4156)
        #expect(record["format"] == 2 && record["flags"] == 0 && bytes[4096 + 24..<4096 + 40] == uuid)
        #expect(record["nonce"] != 0 && record["version"] == 1 && record["previous version"] == 0)
        #expect(record["chain"] == 0 && record["position"] == 0)
        #expect(record["flushed through"] == 0 && record["settled through"] == 0)
        #expect(record["layer count"] == 1 && record["page count"] == 3)
        let operationBytes = (1 + 8 + 4 + 4 + 8 + 1) + (1 + 4 + 3)
        #expect(record["operation bytes"] == UInt64(operationBytes))
        let prologue = 128 + 40 + 4 * 20 + operationBytes
        #expect(record["prologue bytes"] == UInt64(prologue) && record["length"] == 4096 + 3 * 4096)
        #expect(record["checksum"] == bytes.sum(4096 + 16..<4096 + prologue))
        #expect(bytes[4096 + prologue..<8192].allSatisfy { $0 == 0 })

        let layer = try Layout("Layer", in: bytes, at: 4096 + 128)
        #expect(layer["object"] == object.rawValue && layer["size"] == UInt64(heap.count) && layer["record"] == 0)
        #expect(layer["floor page"] == 0xffff_ffff && layer["entry count"] == 4 && layer["lines checksum"] == 0)
        var page = 8192
        for (index, number) in [0, 1, 2, 4].enumerated() {
            let entry = try Layout("Entry", in: bytes, at: 4096 + 128 + 40 + index * 20)
            let isZero = number == 1
            #expect(entry["page"] == UInt64(number) && entry["mask"] == (isZero ? 0 : .max))
            #expect(entry["checksum"] == Bytes(heap.base + number * 4096, 4096).sum(0..<4096))
            if isZero { continue }
            #expect(Array(bytes[page..<page + 4096]) == Bytes(heap.base + number * 4096, 4096).all)
            page += 4096
        }

        var at = 4096 + 128 + 40 + 80
        #expect(bytes.number(at, 1) == 1 && bytes.number(at + 1, 8) == object.rawValue && bytes.number(at + 9, 4) == 4)
        #expect(bytes.text(at + 13, 4) == "tiny" && bytes.number(at + 17, 8) == UInt64(heap.count))
        #expect(bytes.number(at + 25, 1) == 1)
        at += 26
        #expect(bytes.number(at, 1) == 11 && bytes.number(at + 1, 4) == 3 && bytes.text(at + 5, 3) == "né")
    }

    @Test func theNextRecordChainsOn() throws {
        let (store, object, heap) = try Self.make(folder.path)
        defer { store.abandon() }
        heap.fill(3, 77)
        _ = try store.commit([heap.layer(object, [3])], durability: .deferred)
        let bytes = try Bytes(folder.path + "/journal")
        let first = try Layout("Record header", in: bytes, at: 4096)
        let second = try Layout("Record header", in: bytes, at: 4096 + Int(first["length"]))
        #expect(second["version"] == 2 && second["previous version"] == 1 && second["position"] == first["length"])
        #expect(second["chain"] == first["checksum"] && second["nonce"] == first["nonce"] && second["flags"] == 1)
        #expect(second["flushed through"] == 1 && second["operation bytes"] == 0)
    }

    /// Patches alone: their lines follow the prologue.
    @Test func linesFollowThePrologue() throws {
        let (store, object, heap) = try Self.make(folder.path)
        defer { store.abandon() }
        // Patches are found against the head's page table.
        _ = try store.head(of: object)
        // Lines 3 and 63 of page 0, line 0 of page 4; page 2 is as it was.
        for (page, line) in [(0, 3), (0, 63), (4, 0)] { (heap.base + page * 4096 + line * 64).storeBytes(of: 9_999, as: UInt64.self) }
        _ = try store.commit([heap.layer(object, [0, 2, 4])])
        let bytes = try Bytes(folder.path + "/journal")
        let first = 4096 + Int(try Layout("Record header", in: bytes, at: 4096)["length"])
        let record = try Layout("Record header", in: bytes, at: first)
        let prologue = 128 + 40 + 2 * 20
        #expect(record["prologue bytes"] == UInt64(prologue) && record["page count"] == 0 && record["length"] == 4096)
        #expect(record["checksum"] == bytes.sum(first + 16..<first + prologue))
        let layer = try Layout("Layer", in: bytes, at: first + 128)
        #expect(layer["entry count"] == 2 && layer["lines checksum"] == bytes.sum(first + prologue..<first + prologue + 3 * 64))
        for (index, (number, mask)) in [(0, 1 << 3 | 1 << 63), (4, 1)].enumerated() as EnumeratedSequence<[(Int, UInt64)]> {
            let entry = try Layout("Entry", in: bytes, at: first + 128 + 40 + index * 20)
            #expect(entry["page"] == UInt64(number) && entry["mask"] == mask)
            #expect(entry["checksum"] == Bytes(heap.base + number * 4096, 4096).sum(0..<4096))
        }
        var at = first + prologue
        for (page, line) in [(0, 3), (0, 63), (4, 0)] {
            #expect(Array(bytes[at..<at + 64]) == Bytes(heap.base + page * 4096 + line * 64, 64).all)
            at += 64
        }
        #expect(bytes[at..<first + 4096].allSatisfy { $0 == 0 })
    }

    /// Patches beside whole pages: their lines follow the pages.
    @Test func linesFollowThePages() throws {
        let (store, object, heap) = try Self.make(folder.path)
        defer { store.abandon() }
        // Patches are found against the head's page table.
        _ = try store.head(of: object)
        heap.fill(0, 123_456)
        (heap.base + 2 * 4096 + 64).storeBytes(of: 9_999, as: UInt64.self)
        _ = try store.commit([heap.layer(object, [0, 2])])
        let bytes = try Bytes(folder.path + "/journal")
        let first = 4096 + Int(try Layout("Record header", in: bytes, at: 4096)["length"])
        let record = try Layout("Record header", in: bytes, at: first)
        #expect(record["page count"] == 1 && record["length"] == 3 * 4096)
        #expect(Array(bytes[first + 4096..<first + 8192]) == Bytes(heap.base, 4096).all)
        #expect(Array(bytes[first + 8192..<first + 8256]) == Bytes(heap.base + 2 * 4096 + 64, 64).all)
        #expect(bytes[first + 8256..<first + 12288].allSatisfy { $0 == 0 })
        let layer = try Layout("Layer", in: bytes, at: first + 128)
        #expect(layer["lines checksum"] == bytes.sum(first + 8192..<first + 8256))
    }

    @Test func everyOperationIsEncodedAsDrawn() {
        let a = ObjectID(0x0102_0304_0506_0708), b = ObjectID(9)
        let drawn: [(StoreOperation, [UInt8])] = [
            (
                .createObject(id: a, name: "x", size: 5, residency: .shared),
                [1] + little(a.rawValue, 8) + text("x") + little(5, 8) + [0]
            ),
            (.renameObject(id: a, name: "yz"), [2] + little(a.rawValue, 8) + text("yz")),
            (.resizeObject(id: b, size: 6), [3] + little(9, 8) + little(6, 8)),
            (.deleteObject(id: b), [4] + little(9, 8)),
            (
                .lineage(object: b, source: a, sourceVersion: Version(3), size: 4),
                [5] + little(9, 8) + little(a.rawValue, 8) + little(3, 8) + little(4, 8)
            ),
            (
                .createSnapshot(name: "s", version: .infinity, object: nil, message: "m"),
                [6] + text("s") + little(.max, 8) + little(0, 8) + text("m")
            ),
            (.deleteSnapshot(name: "s"), [7] + text("s")),
            (.renameSnapshot(from: "s", to: "t"), [8] + text("s") + text("t")),
            (.setRetention(Retention(versions: 2, seconds: 3)), [9] + little(2, 4) + little(3, 4)),
            (.mapChanges([1, 0]), [10] + little(2, 4) + [1, 0]),
            (.message("m"), [11] + text("m")),
        ]
        for (operation, bytes) in drawn { #expect(StoreOperation.encode([operation]) == bytes, "\(operation)") }
    }

    @Test func partsAndRowsOfThePageStore() throws {
        let (store, object, heap) = try Self.make(folder.path)
        try store.settle()
        try store.close()
        let bytes = try Bytes(folder.path + "/pages.lmdb")
        let places = stride(from: 0, to: bytes.count, by: 4096).filter { bytes.text($0 + 16, 8) == "VVRLAYER" }
        let page = try #require(places.first)
        #expect(places.count == 1)
        // LMDB's overflow header: page number, padding, flags, number of pages.
        #expect(bytes.number(page, 8) == UInt64(page / 4096) && bytes.number(page + 8, 2) == 0)
        #expect(bytes.number(page + 10, 2) == 4 && bytes.number(page + 12, 4) == 4)

        let part = try Layout("Part header", in: bytes, at: page + 16)
        #expect(part["magic"] == 0x5245_5941_4c52_5656 && part["format"] == 1 && part["entry count"] == 4)
        #expect(part["checksum"] == bytes.sum(page + 32..<page + 16 + 4080))
        #expect(bytes[page + 16 + 24..<page + 16 + 40] == store.uuid.bytes[...])
        #expect(part["object"] == object.rawValue && part["record"] == 1 && part["part"] == 0)
        #expect(part["size"] == UInt64(heap.count))
        var place = page + 4096
        for (index, number) in [0, 1, 2, 4].enumerated() {
            let entry = try Layout("Entry", in: bytes, at: page + 16 + 80 + index * 20)
            #expect(entry["page"] == UInt64(number))
            #expect(entry["mask"] == (number == 1 ? 0 : .max))
            if number == 1 { continue }
            #expect(Array(bytes[place..<place + 4096]) == Bytes(heap.base + number * 4096, 4096).all)
            place += 4096
        }

        // Rows stand behind their keys; older copies of a page may hold older ones.
        let meta = try bytes.rows(key: Array("store".utf8), "Meta row").filter { $0["settled"] == 1 && $0["clean"] == 1 }
        let row = try #require(meta.first)
        #expect(row["format"] == 2 && row["position"] == 4 * 4096 && row["last"] == 1 && row["next record"] == 2)
        #expect(row["last position"] == 0 && row["longest record"] == 1 << 20)
        #expect(row["retained versions"] == 8 && row["retained seconds"] == 0 && row["window base"] == 0x1234_0000_0000)
        let big = withUnsafeBytes(of: object.rawValue.bigEndian) { Array($0) }
        let one: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1]
        let version = try #require(try bytes.rows(key: big + one, "Version row").first)
        #expect(version["record"] == 1 && version["first"] == 1 && version["size"] == UInt64(heap.count))
        #expect(version["floor page"] == 0xffff_ffff && version["part count"] == 1 && version["page count"] == 4)
        let chain = try bytes.rows(key: big, "Chain row")
        #expect(chain.contains { $0["count"] == 1 && $0["digest"] == version.sumOfKeyAndValue })
    }

    @Test func checkpointsOfPageTables() throws {
        let (store, object, heap) = try Self.make(folder.path)
        store.checkpointPolicy = .eager
        try store.close()
        let bytes = try Bytes(folder.path + "/pages.lmdb")
        let part = try #require(stride(from: 0, to: bytes.count, by: 4096).first { bytes.text($0 + 16, 8) == "VVRLAYER" })
        let page = try #require(
            stride(from: 8192, to: bytes.count, by: 4096).first { bytes.number($0 + 10, 2) == 4 && bytes.number($0 + 12, 4) == 9 })
        let head = try Layout("Checkpoint head", in: bytes, at: page + 16)
        #expect(head["object"] == object.rawValue && head["chunk"] == 0 && head["file page"] == UInt64(page / 4096))
        #expect(head["slots checksum"] == bytes.sum(page + 4096..<page + 9 * 4096))
        // Page 0 of the object, alone at the chunk's beginning, and the zeros up to its end.
        #expect(head["run count"] == 2)
        let first = UInt64(part / 4096 + 1)
        #expect(bytes[page + 48..<page + 64] == (little(0, 2) + little(1, 2) + little(0, 4) + little(first, 8))[...])
        #expect(bytes[page + 64..<page + 80] == (little(5, 2) + little(2043, 2) + little(0, 4) + little(0, 8))[...])
        for (number, place) in [(0, first), (1, 0), (2, first + 1), (3, 0), (4, first + 2), (5, 0)] {
            let content = Bytes(heap.base + number * 4096, 4096).all
            let slot = little(place, 8) + little(place == 0 ? 0 : Checksum.of(content), 8)
            #expect(bytes[page + 4096 + 16 * number..<page + 4096 + 16 * number + 16] == slot[...])
        }
        let chain = try #require(try bytes.rows(key: big(object.rawValue, 8), "Chain row").first { $0["count"] == 1 })
        let fields = little(1, 8) + little(UInt64(heap.count), 8) + little(1, 8) + little(chain["digest"], 8)
            + little(1, 4) + little(object.rawValue, 8) + little(1, 4) + little(0, 4) + little(bytes.sum(page + 16..<page + 4096), 8)
        let key = big(0, 8) + big(object.rawValue, 8)
        #expect(bytes.holdsRow(key, fields + little(Checksum.of(key + fields), 8)))
    }

    @Test func rowsOfNamesAndHistory() throws {
        let (store, object, heap) = try Self.make(folder.path)
        let clone = ObjectID(store.newID())
        _ = try store.commit(
            [],
            operations: [
                .createObject(id: clone, name: "copy", size: UInt64(heap.count), residency: .shared),
                .lineage(object: clone, source: object, sourceVersion: Version(1), size: UInt64(heap.count)),
                .createSnapshot(name: "then", version: Version(1), object: object, message: "m"),
            ])
        let stage = try store.stage(object)
        try stage.add(page: 3, UnsafeRawPointer(heap.base), size: UInt64(heap.count))
        let staged = try #require(try stage.finish(size: UInt64(heap.count), floorPage: .max)).layer.record
        let journal = try Bytes(folder.path + "/journal")
        let first = try Layout("Record header", in: journal, at: 4096)
        let second = try Layout("Record header", in: journal, at: 4096 + Int(first["length"]))
        try store.settle()
        let bytes = try Bytes(folder.path + "/pages.lmdb")
        let size = little(UInt64(heap.count), 8)
        let id = object.rawValue
        let operations = 128 + 40 + 4 * 20
        let firstOperations = journal[4096 + operations..<4096 + operations + Int(first["operation bytes"])]
        let drawn: [(table: String, key: [UInt8], fields: [UInt8])] = [
            ("objects", big(id, 8), little(id, 8) + little(1, 8) + little(.max, 8) + size + [1] + text("tiny")),
            ("names", Array("tiny".utf8), little(id, 8)),
            ("lineage", big(clone.rawValue, 8) + big(2, 8), little(id, 8) + little(1, 8) + size),
            (
                "snapshots", Array("then".utf8),
                text("then") + little(1, 8) + little(id, 8) + little(second["time"], 8) + text("m")
            ),
            ("graveyard", big(0, 8) + big(id, 8) + big(staged, 8) + big(0, 4), little(.max, 8)),
            (
                "outbox", big(1, 8),
                little(1, 8) + little(first["time"], 8) + little(4, 4) + little(UInt64(firstOperations.count), 4) + firstOperations
            ),
        ]
        for row in drawn {
            #expect(bytes.holdsRow(row.key, row.fields + little(Checksum.of(row.key + row.fields), 8)), "\(row.table)")
        }
        for name in Table.allCases.map(\.name) { #expect(bytes.holds(Array(name.utf8)), "\(name)") }
        store.abandon()
    }

    @Test func leases() throws {
        let (store, object, _) = try Self.make(folder.path)
        defer { store.abandon() }
        let view = try store.view(of: object, at: Version(1))
        let bytes = try Bytes(folder.path + "/leases")
        #expect(bytes.count == 262_144 && bytes.text(0, 8) == "VARVLEAS" && bytes.number(8, 8) == UInt64(getpid()))
        let slot = try Layout("Lease slot", in: bytes, at: 4096)
        #expect(slot["magic"] == 0x5341_454c_5652_4156 && slot["object"] == object.rawValue && slot["version"] == 1)
        #expect(slot["epoch"] == 1 && slot["horizon"] == 1 && slot["process"] == UInt64(getpid()))
        withExtendedLifetime(view) {}
    }
}

private func little(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
private func big(_ value: UInt64, _ count: Int) -> [UInt8] { little(value, count).reversed() }
private func text(_ value: String) -> [UInt8] { little(UInt64(value.utf8.count), 4) + Array(value.utf8) }

/// The bytes of a file.
private struct Bytes {
    let all: [UInt8]

    init(_ path: String) throws { all = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }
    init(_ start: UnsafeRawPointer, _ count: Int) { all = [UInt8](UnsafeRawBufferPointer(start: start, count: count)) }
    init(_ all: [UInt8]) { self.all = all }

    var count: Int { all.count }
    subscript(range: Range<Int>) -> ArraySlice<UInt8> { all[range] }
    func text(_ offset: Int, _ count: Int) -> String { String(decoding: all[offset..<offset + count], as: UTF8.self) }
    func sum(_ range: Range<Int>) -> UInt64 { Checksum.of(Array(all[range])) }

    /// A little-endian number.
    func number(_ offset: Int, _ count: Int) -> UInt64 {
        all[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    func holds(_ wanted: [UInt8]) -> Bool {
        all.indices.contains { all[$0] == wanted[0] && all[$0...].starts(with: wanted) }
    }

    /// True where a leaf node has exactly this key and this value.
    func holdsRow(_ key: [UInt8], _ value: [UInt8]) -> Bool {
        holds(little(UInt64(value.count), 4) + [0, 0] + little(UInt64(key.count), 2) + key + value)
    }

    /// The rows behind `key` in LMDB's leaf nodes whose checksum, of key and fields, is right.
    func rows(key: [UInt8], _ heading: String) throws -> [Layout] {
        let drawn = try Layout(heading)
        let length = drawn.fields.last.map { $0.offset + $0.count } ?? 0
        var found: [Layout] = []
        for start in stride(from: 16, to: count - key.count - length, by: 2) where all[start] == key[0] {
            // A node: size of the value (4), flags (2), size of the key (2), key, value.
            guard all[start..<start + key.count].elementsEqual(key), number(start - 2, 2) == UInt64(key.count),
                number(start - 8, 4) == UInt64(length)
            else { continue }
            let layout = try Layout(heading, in: self, at: start + key.count, key: key)
            if layout["row checksum"] == Checksum.of(key + self[start + key.count..<start + key.count + length - 8]) {
                found.append(layout)
            }
        }
        return found
    }
}

/// A table of docs/FORMAT.md, and where its bytes are.
private struct Layout {
    struct Field {
        var offset: Int
        var count: Int
        var name: String
    }

    let fields: [Field]
    private var bytes = Bytes([])
    private var start = 0
    private var key: [UInt8] = []

    /// The table under `### heading`.
    init(_ heading: String) throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/FORMAT.md")
        let lines = try String(contentsOf: page.standardizedFileURL, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
        let first = try #require(lines.firstIndex { $0 == "### \(heading)" })
        fields = lines[(first + 1)...].prefix { !$0.hasPrefix("#") }.compactMap { line in
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            guard line.hasPrefix("|"), cells.count >= 3, let offset = Int(cells[0]), let count = Int(cells[1]) else { return nil }
            return Field(offset: offset, count: count, name: cells[2])
        }
        #expect(!fields.isEmpty, "\(heading)")
    }

    init(_ heading: String, in bytes: Bytes, at start: Int, key: [UInt8] = []) throws {
        try self.init(heading)
        self.bytes = bytes
        self.start = start
        self.key = key
    }

    subscript(name: String) -> UInt64 {
        guard let field = fields.first(where: { $0.name == name }) else {
            Issue.record("docs/FORMAT.md has no field '\(name)'")
            return 0
        }
        return bytes.number(start + field.offset, field.count)
    }

    /// Of a row: the checksum of its key and its whole value.
    var sumOfKeyAndValue: UInt64 {
        let length = fields.last.map { $0.offset + $0.count } ?? 0
        return Checksum.of(key + bytes[start..<start + length])
    }
}
