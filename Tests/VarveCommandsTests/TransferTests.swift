import Foundation
import Testing

@testable import VarveCommands

@Suite struct TransferTests {
    @Test func tenMegabytesThroughWriteAndRead() throws {
        let store = TestStore()
        let bytes = randomBytes(10_000_000)
        #expect(store("create", "o", "--size", "10000001").code == 0)
        let written = store("write", "o", "--offset", "1", "-m", "all of it", "--json", input: bytes)
        #expect(written.code == 0, "\(written.errors)")
        #expect(try written.json()["bytes"] as? Int == bytes.count)
        #expect(store("read", "o").output == Data([0]) + bytes)
        #expect(store("read", "o", "--offset", "4097", "--length", "5000").output == bytes.dropFirst(4096).prefix(5000))
        #expect(store("read", "o", "--offset", "10000000", "--length", "1T").output == bytes.suffix(1))
        #expect(store("read", "o", "--offset", "10000001").output.isEmpty)
        #expect(store("read", "o", "--length", "0").output.isEmpty)
        #expect(store("read", "o", "--offset", "10000002").code == 2)
        #expect(store("log").text.contains("all of it"))
    }

    @Test func aWriteBeyondTheEndChangesNothing() throws {
        let store = TestStore()
        #expect(store("create", "o", "--size", "8K").code == 0)
        let outcome = store("write", "o", "--offset", "4K", "--json", input: randomBytes(5000))
        #expect(outcome.code == 2)
        #expect(try outcome.jsonError()["code"] as? String == "invalid")
        #expect(store("read", "o").output == Data(count: 8192))
        #expect(store("write", "missing", "--offset", "0").code == 2)
        #expect(try store("write", "o", "--offset", "0", "--json").json()["bytes"] as? Int == 0)
    }

    @Test func importAndExport() throws {
        let store = TestStore()
        let bytes = randomBytes(100_001)
        let file = store.file("input", bytes)
        let imported = try store("import", file, "--json").json()
        #expect(imported["name"] as? String == "input")
        #expect(imported["size"] as? Int == bytes.count)
        #expect(store("import", file).code == 2)
        #expect(store("import", file, "--name", "other").code == 0)
        #expect(store("import", store.beside("absent")).code == 2)
        #expect(store("snapshot create", "s").code == 0)
        #expect(store("write", "input", "--offset", "0", input: Data("changed".utf8)).code == 0)

        let exported = store("export", "input@s", store.beside("out"), "--json")
        #expect(exported.code == 0, "\(exported.errors)")
        #expect(try exported.json()["size"] as? Int == bytes.count)
        #expect(FileManager.default.contents(atPath: store.beside("out")) == bytes)
        #expect(store("export", "input", store.beside("out"), "--no-clobber").code == 2)
        #expect(store("export", "input", store.beside("out")).code == 64)
        #expect(FileManager.default.contents(atPath: store.beside("out")) == bytes)
        #expect(store("export", "input", store.beside("out"), "--yes").code == 0)
        #expect(FileManager.default.contents(atPath: store.beside("out"))?.prefix(7) == Data("changed".utf8))
        #expect(store("export", "input@none", store.beside("out2")).code == 2)
        #expect(store("export", "input", store.beside("no/such/folder")).code == 2)
    }

    @Test func clonesStandAlone() throws {
        let store = TestStore()
        let bytes = randomBytes(20_000)
        #expect(store("import", store.file("f", bytes)).code == 0)
        #expect(store("snapshot create", "s").code == 0)
        #expect(store("write", "f", "--offset", "0", input: Data(count: 20_000)).code == 0)
        let cloned = try store("clone", "f@s", "g", "--json").json()
        #expect(cloned["name"] as? String == "g")
        #expect(store("read", "g").output == bytes)
        #expect(store("write", "g", "--offset", "0", input: Data("mine".utf8)).code == 0)
        #expect(store("read", "f@s").output == bytes)
        #expect(store("clone", "f", "g").code == 2)
        #expect(store("clone", "f@none", "h").code == 2)
    }
}
