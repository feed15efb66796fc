import Foundation
import TestSupport
import Testing
import Varve

/// Each way of ours to write an object's bytes leaves what was copied of it, inherited and snapshotted.
@Suite struct CopyWritePathTests {
    private let page = Bench.page
    private let pages = 40

    enum Path: String, CaseIterable {
        case store, vmWrite, vmCopy, vmCopyOfWholePages, zero, storeWrite, truncate, truncateInAPage, grow, rollback, invalidate, kill, abandon, fileAgain
    }

    @Test(arguments: Path.allCases, everyMode)
    func noWritePathChangesWhatWasCopied(_ path: Path, _ options: Store.OpenOptions) throws {
        for isCommitted in [true, false] { try check(path, options, isCommitted) }
    }

    /// `isCommitted`: what is copied is committed before the copy; else a part of it is not.
    private func check(_ path: Path, _ options: Store.OpenOptions, _ isCommitted: Bool) throws {
        let bench = try Bench(options)
        let store = bench.store, task = bench.task
        let size = UInt64(pages) * page
        let file = bench.fixture.folder.path + "/file"
        try Data(count: Int(size)).write(to: URL(fileURLWithPath: file))
        let object = try path == .fileAgain ? store.fileObject(path: file, named: "a") : store.createObject(named: "a", size: size)
        let address = try task.map(size: size, object: object)
        bench.fill(address, [Int](repeating: -1, count: pages))
        try store.commit(snapshot: "before")
        var wanted = Array(1...pages)
        bench.fill(address, wanted)
        try store.commit(snapshot: "at")
        if !isCommitted {
            wanted[7] = 700
            wanted[pages - 1] = 701
            bench.set(address + 7 * page, 700)
            bench.set(address + UInt64(pages - 1) * page, 701)
        }
        let copy = try task.map(size: size, object: object, copy: true, inheritance: .none)
        let child = try task.createChild(named: "child")
        let inherited = address - task.windowBase + child.windowBase
        let state = try store.mapState(.init(name: "a", state: .snapshot("at")))
        // Touched in part: the rest comes later.
        #expect(bench.word(copy) == 1 && bench.word(inherited + page, of: child) == 2)

        func unmap() throws {
            try store.commit()
            try task.deallocate(address: address, size: size)
            try store.commit()
        }
        let bytes = [UInt8](repeating: 255, count: Int(size))
        switch path {
        case .store: bench.fill(address, [Int](repeating: 99, count: pages))
        case .vmWrite: try bytes.withUnsafeBytes { try task.write(address: address, $0) }
        case .vmCopy, .vmCopyOfWholePages:
            let other = try task.allocate(size: size)
            let part: UInt64 = path == .vmCopy ? 5 : 0
            try task.copy(source: other + part, size: size - part, destination: address)
        case .zero: try task.setBehavior(address: address, size: size, .zero)
        case .storeWrite:
            try unmap()
            var rest = [bytes][...]
            try store.write("a", offset: 0, from: { rest.popFirst() })
        case .truncate, .truncateInAPage, .grow:
            try unmap()
            let kept = path == .truncate ? 2 * page : path == .truncateInAPage ? 2 * page + 3 : 2 * size
            try store.resizeObject("a", to: kept)
            try store.resizeObject("a", to: size)
        case .rollback:
            try store.commit()
            try store.rollback(to: .snapshot("before"), object: "a")
        case .invalidate: try task.sync(address: address, size: size, .invalidate)
        case .kill: try task.sync(address: address, size: size, .killPages)
        case .abandon:
            // Copies that no commit holds are abandoned with the rest.
            try store.commit()
            bench.fill(address, [Int](repeating: 99, count: pages))
            try store.abandon()
        case .fileAgain:
            try unmap()
            try Data(bytes).write(to: URL(fileURLWithPath: file))
            _ = try store.fileObject(path: file, named: "a")
        }
        func look(_ when: String) {
            #expect(bench.words(copy, pages) == wanted, "\(path), \(when): the copy")
            #expect(bench.words(inherited, pages, of: child) == wanted, "\(path), \(when): what was inherited")
            state.withBytes { bytes in
                #expect((0..<pages).map { bytes.load(fromByteOffset: $0 * 4096, as: Int.self) } == Array(1...pages), "\(path), \(when): the snapshot")
            }
        }
        look("at once")
        try store.commit()
        _ = try store.reclaim()
        look("after a commit and reclaim")
        try store.close()
        let again = try bench.reopened(options)
        let reader = try again.task(named: "main")
        #expect(bench.words(copy, pages, of: reader) == wanted, "\(path): the copy, reopened")
        #expect(try again.mapState(.init(name: "a", state: .snapshot("at"))).withBytes { $0.load(fromByteOffset: 9 * 4096, as: Int.self) } == 10)
        #expect(try again.verify { _ in }.findings == 0)
    }

    /// What another process stores later is in no copy; what it stored before is.
    @Test func anotherProcesssStoresAreInACopyUntilTheCallAndNotAfterIt() throws {
        let bench = try Bench()
        let task = bench.task
        let object = try bench.object("a", pages: 8)
        let address = try task.map(size: 8 * page, object: object)
        bench.fill(address, Array(1...8))
        try bench.store.commit()
        let remote = try RemoteStore.connect(bench.fixture.path)
        let other = try remote.task()
        let there = try other.map(size: 8 * page, object: try remote.object(named: "a"), maximum: .default)
        other.pointer(there + page).storeBytes(of: 20, as: Int.self)
        let copy = try task.map(size: 8 * page, object: object, copy: true)
        for number in 0..<UInt64(8) { other.pointer(there + number * page).storeBytes(of: 99, as: Int.self) }
        #expect(bench.words(copy, 8) == [1, 20, 3, 4, 5, 6, 7, 8] && bench.words(address, 8) == [Int](repeating: 99, count: 8))
        try bench.store.commit()
        #expect(bench.words(copy, 8) == [1, 20, 3, 4, 5, 6, 7, 8])
        remote.close()
        try bench.store.close()
    }

    /// A file that a manager serves: nothing that happens to it changes a copy.
    @Test(arguments: HostFileEvent.allCases)
    func noEventOnAServedHostFileChangesACopy(_ event: HostFileEvent) throws {
        let bench = try Bench()
        let file = bench.fixture.folder.path + "/served"
        let bytes = Data((0..<16 * 4096).map { UInt8(truncatingIfNeeded: $0 / 4096 + 1) })
        try bytes.write(to: URL(fileURLWithPath: file))
        let object = try bench.store.makeObject(ofFile: file)
        let copy = try bench.task.map(size: 16 * page, object: object, copy: true)
        try event.happen(to: file)
        #expect(Data(try bench.task.read(address: copy, size: 16 * page)) == bytes)
        try bench.store.commit()
        #expect(Data(try bench.task.read(address: copy, size: 16 * page)) == bytes)
        // Where pages of an object have been given, and its file is another since, a copy that is made now fails.
        let other = bench.fixture.folder.path + "/other"
        try bytes.write(to: URL(fileURLWithPath: other))
        let fresh = try bench.store.makeObject(ofFile: other, attributes: .init(clusterPages: 1))
        if event != .rename, HostCapabilities.current.demandFaults {
            let shown = try bench.task.map(size: 16 * page, object: fresh)
            #expect(try bench.task.read(address: shown, size: 1) == [1])
            try event.happen(to: other)
            #expect(bench.code { try bench.task.map(size: 16 * page, object: fresh, copy: true) } == .memoryError)
        }
        try bench.store.close()
    }
}
