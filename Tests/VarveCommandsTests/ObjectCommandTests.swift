import Foundation
import TestSupport
import Testing

@testable import VarveCommands

@Suite struct ObjectCommandTests {
    @Test func initMakesAStoreOnce() throws {
        let store = TestStore()
        let other = run(["init", store.beside("b.varve"), "--ring", "4M", "--json"])
        #expect(other.code == 0)
        #expect(try other.json()["ring"] as? Int == 4 << 20)
        #expect((try other.json()["uuid"] as? String)?.isEmpty == false)
        let again = run(["init", store.path, "--json"])
        #expect(again.code == 2)
        #expect(try again.jsonError()["code"] as? String == "storeExists")
        #expect(run(["init", store.beside("none/x")]).code == 2)
    }

    @Test(arguments: [
        ["ls"], ["create", "o", "--size", "1"], ["read", "o"], ["write", "o", "--offset", "0"], ["log"], ["stat"], ["verify"],
        ["leases"], ["retain"], ["reclaim"], ["optimize"], ["diff", "1", "2"], ["rollback", "1", "--yes"], ["rm", "o", "--yes"],
        ["export", "o", "/dev/null"], ["backup", "/tmp/none"], ["clone", "o", "p"], ["repair"],
    ])
    func noStoreIs10(_ arguments: [String]) throws {
        let folder = TestStore().folder
        let outcome = run([arguments[0], folder.path + "/nothing.varve"] + arguments.dropFirst() + ["--json"])
        #expect(outcome.code == 10)
        #expect(try outcome.jsonError()["code"] as? String == "noStore")
        #expect((try outcome.jsonError()["advice"] as? String)?.isEmpty == false)
    }

    @Test func createResizeRenameRemove() throws {
        let store = TestStore()
        let made = store("create", "one", "--size", "64K", "--json")
        #expect(made.code == 0)
        #expect(try made.json()["size"] as? Int == 65536)
        #expect(try made.json()["residency"] as? String == "shared")
        #expect(store("create", "one", "--size", "1").code == 2)
        #expect(try store("create", "one", "--size", "1", "--json").jsonError()["code"] as? String == "exists")

        let resized = try store("resize", "one", "--size", "1M", "--json").json()
        #expect(resized["size_before"] as? Int == 65536)
        #expect(resized["size"] as? Int == 1 << 20)
        #expect(try store("resize", "two", "--size", "1", "--json").jsonError()["code"] as? String == "notFound")

        #expect(store("rename", "one", "two").code == 0)
        #expect(store("rename", "one", "three").code == 2)
        let listed = try store("ls", "--json").json()
        let objects = try #require(listed["objects"] as? [[String: Any]])
        #expect(objects.map { $0["name"] as? String } == ["two"])
        #expect(Set(objects[0].keys) == ["name", "id", "size", "data_pages", "residency", "born"])

        #expect(store("rm", "two", "--yes", "--dry-run").text.contains("Nothing was changed"))
        #expect(store("ls").text.contains("two"))
        let removed = try store("rm", "two", "--yes", "--json").json()
        #expect(removed["dry_run"] as? Bool == false)
        #expect(store("ls").text == "No objects at version \(removed["version"] as! Int).\n")
    }

    @Test func removingAsks() {
        let store = TestStore()
        #expect(store("create", "o", "--size", "1M").code == 0)
        let refused = store("rm", "o")
        #expect(refused.code == 64)
        #expect(refused.errors.contains("--yes"))
        for answer in ["n\n", "", "\n", "yessir\n"] {
            let declined = store("rm", "o", input: Data(answer.utf8), asksPeople: true)
            #expect(declined.code == 2)
            #expect(declined.errors.contains("[y/N]"))
        }
        #expect(store("rm", "missing").code == 2)
        #expect(store("rm", "o", input: Data(" Yes \n".utf8), asksPeople: true).code == 0)
        #expect(store("ls").text.contains("No objects"))
    }

    @Test(arguments: ["größe", "a b", "日本語", "quote\"s'", "-dash", "%s", "{}", "😀", "back\\slash"])
    func oddNames(_ name: String) throws {
        let store = TestStore()
        let made = run(["create", "--size", "4K", "--json", "--", store.path, name])
        #expect(made.code == 0, "\(made.errors)")
        let objects = try store("ls", "--json").json()["objects"] as? [[String: Any]]
        #expect(objects?.first?["name"] as? String == name)
        #expect(run(["read", "--", store.path, name]).output == Data(count: 4096))
        #expect(run(["snapshot", "create", "--", store.path, name]).code == 0)
        #expect(run(["read", "--", store.path, name + "@" + name]).output.count == 4096)
    }

    @Test(arguments: ["", "a\nb", String(repeating: "x", count: 300)])
    func namesThatCantBe(_ name: String) throws {
        let store = TestStore()
        let outcome = run(["create", store.path, name, "--size", "1", "--json"])
        #expect(outcome.code == 2)
        #expect(try outcome.jsonError()["code"] as? String == "invalid")
    }

    @Test func anObjectBeyondEveryLimitIsRefused() throws {
        let store = TestStore()
        #expect(try store("create", "o", "--size", "16000000T", "--json").jsonError()["code"] as? String == "invalid")
    }
}
