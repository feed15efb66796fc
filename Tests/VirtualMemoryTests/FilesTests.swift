import Foundation
import PageStore
import Synchronization
import TestSupport
import Testing
import Varve

/// A store's files: missing, of another store, of a newer format, half-made; and what goes in and out of it.
@Suite struct FilesTests {
    let fixture = StoreFixture()
    private var files: FileManager { .default }

    private func code(_ body: () throws -> Void) -> StoreError.Code? {
        do { try body() } catch let error as StoreError { return error.code } catch { Issue.record("\(error)") }
        return nil
    }

    @Test func aMissingCatalogIsDamageThatNamesTheFile() throws {
        try fixture.create()
        try files.removeItem(atPath: fixture.path + "/catalog.sqlite")
        for access in [Store.Access.write, .automatic, .read] {
            #expect { try fixture.open(.init(access: access)) } throws: { error in
                guard let error = error as? StoreError else { return false }
                return error.code == .damaged && error.path?.hasSuffix("catalog.sqlite") == true && error.advice.contains("varve repair")
            }
        }
    }

    @Test(arguments: ["catalog.sqlite", "journal", "pages.lmdb"])
    func filesOfTwoStoresAreToldApart(_ name: String) throws {
        try fixture.create()
        let other = fixture.folder.path + "/other"
        try Store.create(other, options: .init(ringBytes: 1 << 20))
        for path in [fixture.path, other] {
            let store = try Store.open(path)
            try store.createObject(named: "a", size: 4096)
            try store.close()
        }
        try files.removeItem(atPath: fixture.path + "/" + name)
        try files.copyItem(atPath: other + "/" + name, toPath: fixture.path + "/" + name)
        #expect(code { try fixture.open().close() } == .mismatchedFiles)
        try Store.open(other).close()
    }

    @Test func aCatalogAheadOfThePageStoreIsRefused() throws {
        try fixture.create()
        try files.copyItem(atPath: fixture.path, toPath: fixture.folder.path + "/old")
        let store = try fixture.open()
        for i in 0..<5 { try store.createObject(named: "o\(i)", size: 4096) }
        try store.close()
        try files.removeItem(atPath: fixture.folder.path + "/old/catalog.sqlite")
        try files.copyItem(atPath: fixture.path + "/catalog.sqlite", toPath: fixture.folder.path + "/old/catalog.sqlite")
        #expect(code { try Store.open(fixture.folder.path + "/old").close() } == .mismatchedFiles)
    }

    @Test func creationRefusesWhatStandsThere() throws {
        try fixture.create()
        #expect(code { try fixture.create() } == .storeExists)
        try Data("x".utf8).write(to: URL(fileURLWithPath: fixture.folder.path + "/file"))
        #expect(code { try Store.create(fixture.folder.path + "/file") } == .storeExists)
        #expect(code { try Store.create(fixture.folder.path + "/none/store") } == .notFound)
        try files.createDirectory(atPath: fixture.folder.path + "/empty", withIntermediateDirectories: false)
        try Store.create(fixture.folder.path + "/empty", options: .init(ringBytes: 1 << 20))
        try Store.open(fixture.folder.path + "/empty").close()
        #expect(code { _ = try Store.open(fixture.folder.path + "/nothing") } == .noStore)
    }

    @Test(.timeLimit(.minutes(10)))
    func aKilledCreationLeavesNoStoreOrAWholeOne() async throws {
        var generator = SystemRandomNumberGenerator()
        for round in 0..<8 {
            let path: String = fixture.folder.path + "/killed\(round)"
            let microseconds = UInt32.random(in: 200...60_000, using: &generator)
            await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, microseconds = microseconds as UInt32] in
                quietEnd()
                Thread.detachNewThread {
                    usleep(microseconds)
                    kill(getpid(), SIGKILL)
                }
                try Store.create(path, options: .init(ringBytes: 1 << 20))
                pause()
            }
            if files.fileExists(atPath: path) {
                let store = try Store.open(path)
                try store.createObject(named: "a", size: 4096)
                try store.close()
            } else {
                try Store.create(path, options: .init(ringBytes: 1 << 20))
                try Store.open(path).close()
            }
            #expect(try files.contentsOfDirectory(atPath: fixture.folder.path).filter { $0.contains("killed\(round).creating") }.isEmpty)
        }
    }

    @Test func importingAFileThatChangesIsRefusedOrWhole() throws {
        try fixture.create()
        let store = try fixture.open()
        let file = fixture.folder.path + "/changing"
        try Data(count: 8 << 20).write(to: URL(fileURLWithPath: file))
        let begun = DispatchSemaphore(value: 0)
        let ends = DispatchSemaphore(value: 0)
        let ended = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            let descriptor = open(file, O_RDWR)
            var round = 0
            while ends.wait(timeout: .now()) == .timedOut {
                var lap = round / 100 + 1
                pwrite(descriptor, &lap, 8, off_t(round % 100 * 4096))
                if round % 7 == 0 { ftruncate(descriptor, off_t((8 << 20) - round % 5 * 100)) }
                round += 1
                if round == 10 { begun.signal() }
            }
            close(descriptor)
            ended.signal()
        }
        begun.wait()
        // Refused, or taken while the writer rested: a state that the file once had, in which no page is a lap behind
        // one after it.
        let refusal = code { _ = try store.importFile(file, named: "early") }
        #expect(refusal == nil || refusal == .changedWhileRead)
        if refusal == nil {
            let laps = try store.mapState(.init(name: "early")).withBytes { bytes in
                (0..<100).map { bytes.load(fromByteOffset: $0 * 4096, as: Int.self) }
            }
            #expect(laps == laps.sorted(by: >) && laps[0] - laps[99] <= 1)
        }
        ends.signal()
        ended.wait()
        let report = try store.importFile(file, named: "a")
        let now = try Data(contentsOf: URL(fileURLWithPath: file))
        #expect(try store.mapState(.init(name: "a")).withBytes { Data($0) } == now)
        #expect(report.bytes == UInt64(now.count))
        #expect(code { _ = try store.importFile("/dev/null", named: "b") } == .invalid)
        try store.close()
    }

    #if DEBUG
        /// One that changes once is read again, and is what it is then.
        @Test func aFileThatChangesOnceWhileItIsReadIsReadAgain() throws {
            try fixture.create()
            let store = try fixture.open()
            let file = fixture.folder.path + "/changing"
            try Data(repeating: 1, count: 32 << 20).write(to: URL(fileURLWithPath: file))
            let isDone = Atomic(false)
            // A part of it is staged: its first page has been read.
            Failpoint.observe { name in
                guard name == "stage.committed", !isDone.exchange(true, ordering: .relaxed) else { return }
                let descriptor = open(file, O_WRONLY)
                var byte: UInt8 = 9
                pwrite(descriptor, &byte, 1, 0)
                close(descriptor)
            }
            defer { Failpoint.observe(nil) }
            _ = try store.importFile(file, named: "a")
            let wasChanged = isDone.load(ordering: .relaxed)
            #expect(wasChanged)
            let bytes = try store.mapState(.init(name: "a")).withBytes { Data($0) }
            #expect(bytes[0] == 9 && bytes.count == 32 << 20)
            #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == bytes)
            try store.close()
        }
    #endif

    @Test func sparseFilesStaySparse() throws {
        try fixture.create()
        let store = try fixture.open()
        let file = fixture.folder.path + "/sparse"
        let descriptor = open(file, O_RDWR | O_CREAT, 0o600)
        ftruncate(descriptor, 10 << 30)
        for offset in [0, 5 << 30, (10 << 30) - 3] { pwrite(descriptor, "abc", 3, off_t(offset)) }
        close(descriptor)
        let report = try store.importFile(file, named: "a")
        #expect(report.dataPages == 3)
        let out = fixture.folder.path + "/out"
        try store.export(.init(name: "a"), to: out)
        var s = stat()
        stat(out, &s)
        #expect(s.st_size == 10 << 30 && s.st_blocks < 1000)
        #expect(code { try store.export(.init(name: "a"), to: out, overwrite: false) } == .exists)
        try store.close()
    }

    @Test func anExportReplacesTheFileAndRemovesLeftovers() throws {
        try fixture.create()
        let store = try fixture.open()
        try store.createObject(named: "a", size: 1 << 20)
        var chunks: [[UInt8]] = [Array(repeating: 9, count: 1 << 20)]
        try store.write("a", offset: 0, from: { () throws(StoreError) in chunks.popLast() })
        let out = fixture.folder.path + "/out"
        try Data("old".utf8).write(to: URL(fileURLWithPath: out))
        // A leftover of a killed export.
        try Data("half".utf8).write(to: URL(fileURLWithPath: fixture.folder.path + "/.out.varve-999999999"))
        try store.createObject(named: "huge", size: 1 << 44)
        #expect(throws: StoreError.self) { try store.export(.init(name: "huge"), to: "/proc/self/nothing") }
        try store.export(.init(name: "a"), to: out)
        #expect(try Data(contentsOf: URL(fileURLWithPath: out)).count == 1 << 20)
        #expect(try files.contentsOfDirectory(atPath: fixture.folder.path).filter { $0.hasPrefix(".out.varve") }.isEmpty)
        try store.close()
    }

    @Test func exportsAndBackupsAreOfOneVersionWhileCommitsRun() throws {
        try fixture.create(ring: 4 << 20)
        let store = try fixture.open()
        let pages = 600
        let task = try store.task(named: "main")
        let address = try task.map(size: UInt64(pages * 4096), object: try store.createObject(named: "a", size: UInt64(pages * 4096)))
        let ends = DispatchSemaphore(value: 0)
        let ended = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            var round = 1
            while ends.wait(timeout: .now()) == .timedOut {
                for page in 0..<pages { task.pointer(address + UInt64(page * 4096)).storeBytes(of: round, as: Int.self) }
                do { try store.commit() } catch { Issue.record("\(error)") }
                round += 1
            }
            ended.signal()
        }
        func check(_ bytes: UnsafeRawBufferPointer) {
            let words = Set((0..<pages).map { bytes.load(fromByteOffset: $0 * 4096, as: Int.self) })
            #expect(words.count == 1)
        }
        for round in 0..<6 {
            let out = fixture.folder.path + "/out"
            try store.export(.init(name: "a"), to: out)
            try Data(contentsOf: URL(fileURLWithPath: out)).withUnsafeBytes(check)
            try store.mapState(.init(name: "a")).withBytes(check)
            let copy = fixture.folder.path + "/copy\(round)"
            try store.backup(to: copy)
            let other = try Store.open(copy)
            try other.mapState(.init(name: "a")).withBytes(check)
            #expect(try other.version(of: .head) <= store.version(of: .head))
            try other.close()
        }
        ends.signal()
        ended.wait()
        try store.close()
    }
}
