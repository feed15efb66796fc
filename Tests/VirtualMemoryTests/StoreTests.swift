import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// A store in a folder of its own, with windows at a place of its own, so that suites run beside each other.
struct StoreFixture {
    let folder = TemporaryFolder()
    let windowBase = Self.newWindowBase()
    private static let count = Atomic<UInt64>(0)

    /// Addresses for any number of tasks, above those of all other stores here; one store at a time.
    static let modelWindowBase: UInt64 = 0x5000_0000_0000

    /// Addresses for a few tasks that no other store of these tests has at the same time.
    static func newWindowBase() -> UInt64 {
        0x1000_0000_0000 + count.add(1, ordering: .relaxed).oldValue % 250 * 0x40_0000_0000
    }

    var path: String { folder.path + "/store.varve" }

    func create(ring: Int = 1 << 20) throws { try Store.create(path, options: .init(ringBytes: ring, windowBase: windowBase)) }

    func open(_ options: Store.OpenOptions = .init()) throws -> Store { try Store.open(path, options: options) }
}

/// Both ways of finding dirty pages, each with and without filling on demand, as far as this host has them.
let everyMode: [Store.OpenOptions] = DirtyTracking.allCases.flatMap { tracking in
    [false, true].map { Store.OpenOptions(tracking: tracking, demandFill: $0) }
}.filter {
    ($0.tracking != .asyncWriteProtect || HostCapabilities.current.asyncWriteProtect)
        && ($0.demandFill != true || HostCapabilities.current.demandFaults)
}

@Suite struct StoreTests {
    let fixture = StoreFixture()

    @Test(arguments: everyMode)
    func storesToMappedMemoryAreThereAfterReopening(_ options: Store.OpenOptions) throws {
        try fixture.create()
        var store = try fixture.open(options)
        let object = try store.createObject(named: "a", size: 100 * 4096)
        var task = try store.task(named: "main")
        let address = try task.map(size: 100 * 4096, object: object)
        for page in 0..<100 { task.pointer(address + UInt64(page) * 4096).storeBytes(of: page * 3, as: Int.self) }
        let first = try store.commit(message: "first")
        task.pointer(address).storeBytes(of: 99, as: Int.self)
        let second = try store.commit()
        #expect(second > first)
        try store.close()

        store = try fixture.open(options)
        task = try store.task(named: "main")
        #expect(task.pointer(address).load(as: Int.self) == 99)
        for page in 1..<100 { #expect(task.pointer(address + UInt64(page) * 4096).load(as: Int.self) == page * 3) }
        #expect(try store.commit() == second)
        try store.close()
    }

    @Test(arguments: everyMode)
    func abandoningRestoresExactlyTheChangedPagesAndTheMap(_ options: Store.OpenOptions) throws {
        try fixture.create()
        let store = try fixture.open(options)
        let object = try store.createObject(named: "a", size: 64 * 4096)
        let task = try store.task(named: "main")
        let address = try task.map(size: 64 * 4096, object: object)
        for page in 0..<64 { task.pointer(address + UInt64(page) * 4096).storeBytes(of: page, as: Int.self) }
        try store.commit()
        for page in stride(from: 0, to: 64, by: 5) { task.pointer(address + UInt64(page) * 4096).storeBytes(of: -1, as: Int.self) }
        let other = try task.allocate(size: 8192)
        task.pointer(other).storeBytes(of: 5, as: Int.self)
        try store.abandon()
        for page in 0..<64 { #expect(task.pointer(address + UInt64(page) * 4096).load(as: Int.self) == page) }
        #expect(task.entries.count == 1)
        #expect(try !store.hasUncommittedChanges())
        try store.close()
    }

    /// Who made a snapshot may tell somebody of it: a power cut does not take it, nor the deferred commits before it.
    @Test func aSnapshotIsOnTheDiskWhenItIsMade() throws {
        try fixture.create()
        let store = try fixture.open()
        let object = try store.createObject(named: "a", size: 4096)
        let task = try store.task(named: "main")
        let address = try task.map(size: 4096, object: object)
        try store.commit()
        task.pointer(address).storeBytes(of: 7, as: Int.self)
        let deferred = try store.commit(durability: .deferred)
        let snapshot = try store.createSnapshot("one").version
        // The head that others see is of what is flushed.
        #expect(try store.version(of: .head) == snapshot && snapshot > deferred)
        task.pointer(address).storeBytes(of: 8, as: Int.self)
        let last = try store.commit(durability: .deferred)
        try store.renameSnapshot("one", to: "two")
        #expect(try store.version(of: .head) > last)
        try store.close()
    }

    @Test func snapshotsDiffRollbackAndClone() throws {
        try fixture.create()
        let store = try fixture.open()
        let object = try store.createObject(named: "a", size: 300 * 4096)
        let task = try store.task(named: "main")
        let address = try task.map(size: 300 * 4096, object: object)
        for page in 0..<300 { task.pointer(address + UInt64(page) * 4096).storeBytes(of: page + 1, as: Int.self) }
        try store.commit(message: "filled", snapshot: "one")
        for page in 100..<120 { task.pointer(address + UInt64(page) * 4096).storeBytes(of: 0, as: Int.self) }
        try store.commit(message: "zeroed")
        let differences = try store.diff(.snapshot("one"), .head)
        #expect(differences.count == 1 && differences[0].changedPages == 20 && differences[0].kind == .changed)
        try store.clone(.init(name: "a", state: .snapshot("one")), as: "b")
        try store.rollback(to: .snapshot("one"), object: "a")
        for page in 0..<300 { #expect(task.pointer(address + UInt64(page) * 4096).load(as: Int.self) == page + 1) }
        #expect(try store.diff(.snapshot("one"), .head, object: "a").isEmpty)
        let old = try store.mapState(.init(name: "b"))
        #expect(old.bytes.load(fromByteOffset: 110 * 4096, as: Int.self) == 111)
        try store.reclaim()
        #expect(old.bytes.load(fromByteOffset: 110 * 4096, as: Int.self) == 111)
        try store.close()
    }

    /// Its pages are mapped from the file, where others would be written in their place.
    @Test func aMappedStateStaysWhateverIsRewritten() throws {
        try fixture.create()
        let store = try fixture.open()
        try store.setRetention(Retention(versions: 1, seconds: 0))
        let count = 256
        let object = try store.createObject(named: "a", size: UInt64(count * 4096))
        let task = try store.task(named: "main")
        let address = try task.map(size: UInt64(count * 4096), object: object)
        func write(_ pages: Range<Int>, _ value: Int) throws {
            for page in pages {
                task.pointer(address + UInt64(page * 4096)).initializeMemory(as: Int.self, repeating: value, count: 512)
            }
            try store.commit()
        }
        try write(0..<count, 1)
        _ = try store.reclaim()
        try write(0..<count / 2, 2)
        let old = try store.mapState(.init(name: "a"))
        for value in 3..<9 {
            _ = try store.optimize("a")
            try write(0..<count, value)
            _ = try store.reclaim()
        }
        for page in 0..<count {
            #expect(old.bytes.load(fromByteOffset: page * 4096 + 2048, as: Int.self) == (page < count / 2 ? 2 : 1), "page \(page)")
        }
        try store.close()
    }

    @Test func importedFilesComeBackBitByBit() throws {
        try fixture.create()
        let file = fixture.folder.path + "/input"
        var generator = SeededGenerator(seed: 3)
        var data = Data((0..<1_000_003).map { _ in UInt8.random(in: 0...255, using: &generator) })
        data.replaceSubrange(200_000..<400_000, with: Data(count: 200_000))
        try data.write(to: URL(fileURLWithPath: file))
        var store = try fixture.open()
        let report = try store.importFile(file, named: "input")
        #expect(report.bytes == 1_000_003)
        try store.close()
        store = try fixture.open()
        let out = fixture.folder.path + "/output"
        try store.export(.init(name: "input"), to: out)
        #expect(try Data(contentsOf: URL(fileURLWithPath: out)) == data)
        #expect(try store.objects().first?.pagesWritten ?? 0 < 210)
        try store.close()
    }

    @Test func aReaderInAnotherProcessSeesWhatIsCommittedAndAsksTheWriter() async throws {
        try fixture.create()
        let store = try fixture.open()
        try store.createObject(named: "a", size: 8192)
        var chunks: [[UInt8]] = [Array(repeating: 7, count: 8192)]
        try store.write("a", offset: 0, from: { () throws(StoreError) in chunks.popLast() })
        let path: String = fixture.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            alarm(120)
            let reader = try Store.open(path, options: .init(access: .automatic))
            #expect(!reader.isWriter)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 8192, alignment: 8)
            #expect(try reader.read(.init(name: "a"), offset: 0, into: buffer) == 8192)
            #expect(buffer.allSatisfy { $0 == 7 })
            try reader.createSnapshot("by-reader")
            #expect(throws: StoreError.self) { try reader.createObject(named: "b", size: 1) }
            try reader.close()
        }
        #expect(try store.snapshots().map(\.name) == ["by-reader"])
        try store.close()
    }

    @Test func aSecondOpeningInOneProcessIsRefused() throws {
        try fixture.create()
        let store = try fixture.open()
        #expect { try fixture.open() } throws: { ["locked", "busy"].contains(($0 as? StoreError)?.code.rawValue) }
        try store.close()
        try fixture.open().close()
    }

    @Test(arguments: [Store.Access.write, .automatic])
    func aWriterForAMomentIsWaitedFor(_ access: Store.Access) throws {
        try fixture.create()
        let brief = try Store.open(fixture.path, options: .init(access: access, isBrief: true))
        #expect(brief.isWriter)
        let closed = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            usleep(300_000)
            do { try brief.close() } catch { Issue.record("\(error)") }
            closed.signal()
        }
        let store = try fixture.open()
        #expect(store.isWriter)
        closed.wait()
        // It is not one for a moment: nobody waits for it.
        #expect { try fixture.open() } throws: { ($0 as? StoreError)?.code == .locked }
        try store.close()
    }

    @Test func backupsOpenAndHoldTheSame() throws {
        try fixture.create()
        let store = try fixture.open()
        try store.createObject(named: "a", size: 8192)
        try store.createSnapshot("s")
        try store.backup(to: fixture.folder.path + "/copy")
        try store.createObject(named: "later", size: 4096)
        try store.close()
        let copy = try Store.open(fixture.folder.path + "/copy")
        #expect(try copy.objects().map(\.name) == ["a"])
        #expect(try copy.snapshots().map(\.name) == ["s"])
        try copy.createObject(named: "b", size: 4096)
        try copy.close()
    }
}
