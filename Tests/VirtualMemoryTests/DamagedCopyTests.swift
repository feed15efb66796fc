import Foundation
import TestSupport
import Testing
import Varve

/// Where a page of a copy can't be served as it was, the access fails: it never yields other bytes.
@Suite(.enabled(if: HostCapabilities.current.demandFaults, "needs a host that fills on demand"))
struct DamagedCopyTests {
    private static let page: UInt64 = 4096
    private static let pages = 64

    /// Word `index` of every page of the object, so that no page looks like another.
    fileprivate static func word(_ page: Int, _ index: Int) -> UInt64 { UInt64(page + 1) &* 0x9e37_79b9_7f4a_7c15 &+ UInt64(index) &* 0x1234_5679 }

    /// A store whose task has a copy of an object, of which page 20 is damaged on the disk; the object itself, where it is exclusive.
    private func damaged(_ residency: Residency = .shared) throws -> (fixture: StoreFixture, address: UInt64) {
        let fixture = StoreFixture()
        try fixture.create()
        var store = try fixture.open()
        var task = try store.task(named: "main")
        let object = try store.createObject(named: "a", size: UInt64(Self.pages) * Self.page, residency: residency)
        let source = try task.map(size: object.size, object: object)
        for page in 0..<Self.pages {
            for index in 0..<512 { task.pointer(source + UInt64(page * 4096 + index * 8)).storeBytes(of: Self.word(page, index), as: UInt64.self) }
        }
        try store.commit()
        var address = source
        if residency == .shared {
            address = try task.map(size: object.size, object: object, copy: true)
            try store.commit()
            try task.deallocate(address: source, size: object.size)
            try store.commit()
        }
        try store.close()
        // Into the page store's file.
        store = try fixture.open()
        _ = try store.reclaim()
        try store.close()
        store = try fixture.open()
        task = try store.task(named: "main")
        try #require(task.entries.map(\.start) == [address])
        try store.close()

        try spoil(Self.word(20, 100), fixture)
        return (fixture, address)
    }

    /// Changes a bit of a word wherever a closed store's files have it.
    private func spoil(_ word: UInt64, _ fixture: StoreFixture) throws {
        let bytes = withUnsafeBytes(of: word) { Data($0) }
        var count = 0
        for name in ["pages.lmdb", "journal"] {
            let file = URL(fileURLWithPath: fixture.path + "/" + name)
            let content = try Data(contentsOf: file)
            var from = content.startIndex
            let handle = try FileHandle(forUpdating: file)
            while let found = content.range(of: bytes, in: from..<content.endIndex) {
                try handle.seek(toOffset: UInt64(found.lowerBound))
                try handle.write(contentsOf: Data([bytes[0] ^ 1]))
                count += 1
                from = found.upperBound
            }
            try handle.close()
        }
        try #require(count > 0)
    }

    @Test(arguments: fillingModes)
    func aPageThatCannotBeServedAsItWasIsAMemoryError(_ options: Store.OpenOptions) throws {
        let (fixture, address) = try damaged()
        let store = try fixture.open(options)
        let task = try store.task(named: "main")
        let bad = address + 20 * Self.page
        #expect(failure { _ = try task.read(address: bad + 5, size: 1) }?.code == .memoryError)
        #expect(failure { _ = try task.read(address: address, size: UInt64(Self.pages) * Self.page) }?.code == .memoryError)
        let fault = try #require(task.lastFault(bad))
        #expect(fault.code == .memoryError && fault.offset == 20 * Self.page)
        // Its neighbours are what they were.
        for page in 0..<Self.pages where page != 20 {
            let bytes = try task.read(address: address + UInt64(page) * Self.page, size: Self.page)
            bytes.withUnsafeBytes { bytes in
                #expect((0..<512).allSatisfy { bytes.load(fromByteOffset: $0 * 8, as: UInt64.self) == Self.word(page, $0) }, "page \(page)")
            }
        }
        // Nor does a copy of the copy show other bytes.
        let again = try task.remap(size: UInt64(Self.pages) * Self.page, source: task, sourceAddress: address, copy: true).address
        #expect(failure { _ = try task.read(address: again + 20 * Self.page, size: 1) }?.code == .memoryError)
        try store.close()
    }

    /// What was stored over a damaged page, which loads of a heap's memory don't check, is whole in a copy of it.
    @Test func aCopyHasWhatWasStoredOverADamagedPage() throws {
        let (fixture, address) = try damaged(.exclusive)
        let store = try fixture.open()
        let task = try store.task(named: "main")
        let bad = address + 20 * Self.page
        memset(task.pointer(bad), 7, 4096)
        let copy = try task.remap(size: UInt64(Self.pages) * Self.page, source: task, sourceAddress: address, copy: true).address
        #expect(task.pointer(copy + 20 * Self.page + 800).load(as: UInt8.self) == 7)
        #expect(task.pointer(copy + 19 * Self.page).load(as: UInt64.self) == Self.word(19, 0))
        #expect(task.pointer(copy + 21 * Self.page).load(as: UInt64.self) == Self.word(21, 0))
        try store.commit()
        #expect(try task.read(address: copy + 20 * Self.page, size: Self.page).allSatisfy { $0 == 7 })
        try store.close()
    }

    @Test func aPlainAccessToItRaisesSIGBUS() async throws {
        let (fixture, address) = try damaged()
        await #expect(processExitsWith: .signal(SIGBUS)) { [path = fixture.path as String, address = address as UInt64] in
            quietEnd()
            let task = try Store.open(path).task(named: "main")
            _ = task.pointer(address).load(as: UInt8.self)
            _ = task.pointer(address + 20 * 4096).load(as: UInt8.self)
        }
    }

    // MARK: States that are mapped

    /// With checks on mapping no state with a damaged page is mapped. Without them its long runs are the file's own pages, damaged
    /// or not.
    @Test func aMappedStateIsCheckedOnRequestAlone() throws {
        let (fixture, _) = try damaged()
        let checking = try fixture.open(.init(checksOnMap: true))
        #expect { _ = try checking.mapState(.init(name: "a")) } throws: { ($0 as? StoreError)?.code == .damaged }
        try checking.close()
        let store = try fixture.open()
        let state = try store.mapState(.init(name: "a"))
        state.withBytes { bytes in
            #expect(bytes.load(fromByteOffset: 20 * 4096 + 800, as: UInt64.self) == Self.word(20, 100) ^ 1)
            #expect(bytes.load(fromByteOffset: 21 * 4096 + 800, as: UInt64.self) == Self.word(21, 100))
        }
        try store.close()
    }

    /// Short runs are checked when they are touched.
    @Test func aDamagedPageOfAShortRunOfAMappedStateRaisesSIGBUS() async throws {
        let fixture = StoreFixture()
        try fixture.create()
        var store = try fixture.open()
        let task = try store.task(named: "main")
        let address = try task.map(size: 8 * Self.page, object: try store.createObject(named: "a", size: 8 * Self.page))
        for index in 0..<8 * 512 { task.pointer(address + UInt64(index * 8)).storeBytes(of: Self.word(index / 512, index % 512), as: UInt64.self) }
        try store.commit()
        try store.close()
        store = try fixture.open()
        _ = try store.reclaim()
        try store.close()
        try spoil(Self.word(3, 100), fixture)
        await #expect(processExitsWith: .signal(SIGBUS)) { [path = fixture.path as String] in
            quietEnd()
            let state = try Store.open(path).mapState(.init(name: "a"))
            state.withBytes { bytes in
                guard bytes.load(fromByteOffset: 2 * 4096 + 800, as: UInt64.self) == DamagedCopyTests.word(2, 100) else { exit(1) }
                _ = bytes.load(fromByteOffset: 3 * 4096 + 800, as: UInt64.self)
            }
        }
    }
}
