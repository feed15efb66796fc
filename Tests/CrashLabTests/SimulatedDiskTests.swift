@testable import CrashLab
import Testing

/// What docs/CRASHLAB.md says that a simulated disk may do.
@Suite struct SimulatedDiskTests {
    /// The contents of a file in all images of a moment; nil where it has no name.
    private func images(_ events: [Trace.Event], _ path: String = "file") throws -> Set<[UInt8]?> {
        var disk = SimulatedDisk()
        for event in events { try disk.apply(event) }
        var found: Set<[UInt8]?> = []
        var random = SplitMix(state: 1)
        var limits = CrashPoint.Limits()
        limits.torn = 0
        try CrashPoint(disk).forEach(limits, &random) { (image) throws(LabError) in
            found.insert(image.names.file(at: path).map { number in
                let file = image.files[number]!
                return (0..<file.size).map { file[$0 / Block.size].bytes[$0 % Block.size] }
            })
            return true
        }
        return found
    }

    private func bytes(_ value: UInt8, _ count: Int = 10) -> [UInt8] { [UInt8](repeating: value, count: count) }

    /// A file of ten ones that is durable, with its name.
    private var made: [Trace.Event] {
        [
            .open(file: 1, path: "", isNew: false, isFolder: true), .open(file: 2, path: "file", isNew: true, isFolder: false),
            .write(file: 2, offset: 0, bytes: bytes(1), isSynchronous: false), .syncBegin(file: 2, number: 1), .syncEnd(file: 2, number: 1),
            .syncBegin(file: 1, number: 2), .syncEnd(file: 1, number: 2),
        ]
    }

    @Test func whatIsSyncedStays() throws { #expect(try images(made) == [bytes(1)]) }

    @Test func anUnsyncedNameMayBeMissing() throws {
        #expect(try images(Array(made.prefix(5))) == [bytes(1), nil])
    }

    @Test func anUnsyncedWriteMayBeThereOrNot() throws {
        let events = made + [.write(file: 2, offset: 0, bytes: bytes(2), isSynchronous: false)]
        #expect(try images(events) == [bytes(1), bytes(2)])
    }

    @Test func aSyncCoversWhatWasWrittenBeforeItBegan() throws {
        let events = made + [
            .write(file: 2, offset: 0, bytes: bytes(2), isSynchronous: false), .syncBegin(file: 2, number: 3),
            .write(file: 2, offset: 0, bytes: bytes(3), isSynchronous: false), .syncEnd(file: 2, number: 3),
        ]
        #expect(try images(events) == [bytes(2), bytes(3)])
    }

    /// The kernel takes pages for clean that it could not write: the next sync says that all is well.
    @Test func aSyncAfterAFailedOneCoversOnlyWhatWasWrittenAgain() throws {
        let size = Block.size
        let start = made + [
            .write(file: 2, offset: 0, bytes: bytes(1, 2 * size), isSynchronous: false), .syncBegin(file: 2, number: 3), .syncEnd(file: 2, number: 3),
            .write(file: 2, offset: 0, bytes: bytes(2, 2 * size), isSynchronous: false), .syncFailed(file: 2),
        ]
        let sync: [Trace.Event] = [.syncBegin(file: 2, number: 4), .syncEnd(file: 2, number: 4)]
        let all = Set([1, 2].flatMap { first in [1, 2].map { bytes(UInt8(first), size) + bytes(UInt8($0), size) } })
        #expect(try images(start + sync) == all)
        let again = start + [.write(file: 2, offset: 0, bytes: bytes(3, size), isSynchronous: false)] + sync
        #expect(try images(again) == [bytes(3, size) + bytes(1, size), bytes(3, size) + bytes(2, size)])
    }

    @Test func blocksAreWrittenInAnyOrder() throws {
        let size = Block.size
        let start = made + [
            .write(file: 2, offset: 0, bytes: bytes(1, 2 * size), isSynchronous: false), .syncBegin(file: 2, number: 3), .syncEnd(file: 2, number: 3),
            .write(file: 2, offset: 0, bytes: bytes(2, 2 * size), isSynchronous: false),
        ]
        let all = [1, 2].flatMap { first in [1, 2].map { bytes(UInt8(first), size) + bytes(UInt8($0), size) } }
        #expect(try images(start) == Set(all))
    }

    @Test func aSizeMayBeThereBeforeItsBytes() throws {
        let size = Block.size
        let found = try images(made + [.write(file: 2, offset: size, bytes: bytes(2), isSynchronous: false)])
        #expect(found == [bytes(1), bytes(1) + bytes(0, size), bytes(1) + bytes(0, size - 10) + bytes(2)])
    }

    @Test func aSynchronousWriteCoversItsOwnBlocks() throws {
        let size = Block.size
        var disk = SimulatedDisk()
        let write = Trace.Event.write(file: 2, offset: size, bytes: bytes(3, size), isSynchronous: true)
        for event in made + [.write(file: 2, offset: 0, bytes: bytes(2, size), isSynchronous: false), write] { try disk.apply(event) }
        disk.finish(synchronousWriteOf: size, at: size, to: 2)
        let file = try #require(disk.files.values.first)
        #expect(file.durable[1].bytes == bytes(3, size) && file.durable.size == 2 * size)
        #expect(file.durable[0].bytes == bytes(1) + bytes(0, size - 10))
        #expect(file.pending.count == 1)
    }

    @Test func whatWasCutOffDoesNotComeBack() throws {
        let events = made + [.resize(file: 2, size: 4), .resize(file: 2, size: 10)]
        #expect(try images(events) == [bytes(1), bytes(1, 4), bytes(1, 4) + bytes(0, 6)])
    }

    @Test func namesComeInTheirOrder() throws {
        let events = made + [
            .open(file: 3, path: "new", isNew: true, isFolder: false), .write(file: 3, offset: 0, bytes: bytes(5), isSynchronous: false),
            .syncBegin(file: 3, number: 3), .syncEnd(file: 3, number: 3), .rename(from: "new", to: "file"),
        ]
        #expect(try images(events) == [bytes(1), bytes(5)])
        #expect(try images(events, "new") == [nil, bytes(5)])
        let synced = try images(events + [.syncBegin(file: 1, number: 4), .syncEnd(file: 1, number: 4)])
        #expect(synced == [bytes(5)])
    }

    @Test func aFolderIsRenamedWithWhatItHolds() throws {
        let events: [Trace.Event] = [
            .open(file: 1, path: "", isNew: false, isFolder: true), .makeFolder(path: "a"),
            .open(file: 2, path: "a/file", isNew: true, isFolder: false), .rename(from: "a", to: "b"), .syncBegin(file: 1, number: 1),
            .syncEnd(file: 1, number: 1),
        ]
        #expect(try images(events, "b/file") == [[]])
        #expect(try images(events, "a/file") == [nil])
    }

    @Test func theNextProcessSeesWhatAKilledOneWroteAndACutMayTakeIt() throws {
        var disk = SimulatedDisk()
        for event in made + [.write(file: 2, offset: 0, bytes: bytes(2), isSynchronous: false)] { try disk.apply(event) }
        let number = try #require(disk.current.names.file(at: "file"))
        #expect(disk.current.files[number]?[0].bytes.prefix(10) == bytes(2)[...])
        #expect(disk.afterKill.files[number]?.pending.count == 1)
        // A file of the same trace number is another one now.
        var next = disk.afterKill
        try next.apply(.open(file: 9, path: "file", isNew: false, isFolder: false))
        try next.apply(.syncBegin(file: 9, number: 1))
        try next.apply(.syncEnd(file: 9, number: 1))
        #expect(next.files[number]?.durable[0].bytes.prefix(10) == bytes(2)[...])
    }

    @Test func aTornBlockHasWholeSectors() throws {
        let size = Block.size
        var disk = SimulatedDisk()
        for event in made + [.write(file: 2, offset: 0, bytes: bytes(2, size), isSynchronous: false)] { try disk.apply(event) }
        var limits = CrashPoint.Limits()
        limits.torn = 50
        var random = SplitMix(state: 1)
        var mixed = 0
        try CrashPoint(disk).forEach(limits, &random) { (image) throws(LabError) in
            let block = image.files.values.first![0].bytes
            for sector in stride(from: 512, to: size, by: 512) {
                let values = Set(block[sector..<sector + 512])
                if values.count != 1 || !values.isSubset(of: [0, 2]) { throw LabError("a sector is torn") }
            }
            if Set(stride(from: 512, to: size, by: 512).map { block[$0] }).count == 2 { mixed += 1 }
            return true
        }
        #expect(mixed > 0)
    }
}
