import Foundation
import GRDB
import TestSupport
import Testing
import Varve

@testable import Catalog
@testable import PageStore

/// A store that a newer Varve wrote, in whichever of its files that shows, is refused by name and left as it is.
@Suite struct NewerFormatTests {
    /// Makes one file of a closed store say that a newer format made it.
    static func makeNewer(_ file: String, of store: String) throws {
        switch file {
        case StoreFile.journal:
            let journal = try File(store + "/" + file, O_RDWR)
            let block = AlignedBuffer(capacity: Journal.superblockSize)
            try journal.read(into: block[0..<Journal.superblockSize], at: 0)
            block.base.storeBytes(of: JournalFormat.format + 1, toByteOffset: 16, as: UInt32.self)
            let sum = Checksum.of(UnsafeRawPointer(block.base) + 16, count: Journal.superblockSize - 16)
            block.base.storeBytes(of: sum.littleEndian, toByteOffset: 8, as: UInt64.self)
            try journal.write(UnsafeRawBufferPointer(block[0..<Journal.superblockSize]), at: 0)
        case StoreFile.pages:
            let lmdb = try LMDB(path: store + "/" + file, readOnly: false)
            defer { lmdb.close() }
            var meta = try PageStore.readMeta(lmdb)
            meta.format += 1
            try lmdb.write { (t) throws(StoreError) in try t.put(.meta, StoreMeta.key, row: meta) }
        default:
            let queue = try CatalogFile.open(store + "/" + file, readOnly: false)
            try queue.write { try $0.execute(sql: "PRAGMA user_version = 99") }
            try queue.close()
        }
    }

    private func bytes(of folder: String) throws -> [String: Data] {
        var found: [String: Data] = [:]
        // `leases` holds who is there now, and nothing that is kept.
        for name in [StoreFile.journal, StoreFile.pages, StoreFile.catalog] {
            found[name] = try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name))
        }
        return found
    }

    @Test(arguments: [StoreFile.journal, StoreFile.pages, StoreFile.catalog])
    func aNewerFormatIsRefusedAndLeftAlone(_ file: String) throws {
        let store = TestStore()
        #expect(store("import", store.file("f", randomBytes(40_960))).code == 0)
        try Self.makeNewer(file, of: store.path)
        let before = try bytes(of: store.path)
        for access in [Store.Access.write, .read, .automatic] {
            #expect { try Store.open(store.path, options: .init(access: access)) } throws: { error in
                guard let error = error as? StoreError else { return false }
                return error.code == .newerFormat && !error.advice.isEmpty && error.message.contains("format")
            }
        }
        for arguments in [
            ["ls"], ["stat"], ["log"], ["read", "f"], ["export", "f", store.beside("out")], ["create", "o", "--size", "4K"],
            ["rm", "f", "--yes"], ["snapshot", "create", "s"], ["reclaim"], ["verify"],
        ] {
            let words = arguments[0] == "snapshot" ? 2 : 1
            let outcome = run(Array(arguments.prefix(words)) + [store.path] + arguments.dropFirst(words))
            #expect(outcome.code == 13, "\(arguments): \(outcome.code) \(outcome.errors)")
        }
        #expect(try store("ls", "--json").jsonError()["code"] as? String == "newerFormat")
        #expect(try bytes(of: store.path) == before)
        #expect(!FileManager.default.fileExists(atPath: store.beside("out")))
    }
}
