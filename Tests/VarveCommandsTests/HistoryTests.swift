import Foundation
import Testing

@testable import VarveCommands

@Suite struct HistoryTests {
    /// A store with an object of four pages, whose third page has changed since snapshot `s`.
    private func changed() -> TestStore {
        let store = TestStore()
        #expect(store("import", store.file("f", randomBytes(16384))).code == 0)
        #expect(store("snapshot create", "s", "-m", "before").code == 0)
        #expect(store("write", "f", "--offset", "8K", "-m", "second", input: Data(count: 100)).code == 0)
        return store
    }

    @Test func diffSaysWhatDiffersByItsExitCode() throws {
        let store = changed()
        let outcome = store("diff", "s", "head", "--json")
        #expect(outcome.code == 1)
        let differences = try #require(try outcome.json()["differences"] as? [[String: Any]])
        #expect(differences.count == 1)
        #expect(differences[0]["name"] as? String == "f")
        #expect(differences[0]["kind"] as? String == "changed")
        #expect(differences[0]["changed_pages"] as? Int == 1)
        #expect(differences[0]["pages"] as? [[String: Int]] == [["start": 2, "count": 1]])
        #expect(store("diff", "s", "--pages").text.contains("f: page 2"))
        // 100 zeros over random bytes: the page's first two lines.
        let lines = try #require(differences[0]["lines"] as? [[String: Any]])
        #expect(lines.count == 1 && lines[0]["page"] as? Int == 2)
        #expect(lines[0]["lines"] as? [[String: Int]] == [["start": 0, "count": 2]])
        #expect(store("diff", "s", "--lines").text.contains("f: page 2, lines 0–1"))
        #expect(store("diff", "s", "s").code == 0)
        #expect(try store("diff", "s", "s", "--json").json()["different"] as? Bool == false)
        #expect(store("diff", "s", "none").code == 2)
        #expect(store("diff", "s", "head", "--object", "none").code == 2)
    }

    @Test func rollbackShowsThenDoes() throws {
        let store = changed()
        let before = store("read", "f@s").output
        let plan = store("rollback", "s", "--dry-run", "--json")
        #expect(plan.code == 0)
        #expect((try plan.json()["changes"] as? [Any])?.count == 1)
        #expect(try plan.json()["version"] is NSNull)
        #expect(store("read", "f").output != before)
        #expect(store("rollback", "s").code == 64)
        #expect(store("rollback", "s", input: Data("n\n".utf8), asksPeople: true).code == 2)
        #expect(store("read", "f").output != before)
        let done = store("rollback", "s", "--object", "f", "--yes", "--json")
        #expect(done.code == 0, "\(done.errors)")
        #expect(store("read", "f").output == before)
        #expect(store("rollback", "none", "--yes").code == 2)
        #expect(store("rollback", "s", "--object", "none", "--yes").code == 2)
    }

    @Test func snapshots() throws {
        let store = changed()
        let listed = try #require(try store("snapshot list", "--json").json()["snapshots"] as? [[String: Any]])
        #expect(listed.map { $0["name"] as? String } == ["s"])
        #expect(listed[0]["message"] as? String == "before")
        #expect(listed[0]["object"] is NSNull)
        #expect((listed[0]["time"] as? String)?.hasSuffix("Z") == true)
        let shown = try store("snapshot show", "s", "--json").json()
        #expect((shown["changes_since"] as? [Any])?.count == 1)
        #expect(store("snapshot show", "none").code == 2)
        #expect(store("snapshot create", "s").code == 2)
        #expect(store("snapshot create", "12").code == 64)
        #expect(store("snapshot create", "head").code == 64)
        #expect(store("snapshot create", "of-f", "--object", "f").code == 0)
        #expect(store("snapshot list").text.contains("of-f"))
        #expect(store("snapshot rename", "of-f", "renamed").code == 0)
        #expect(store("snapshot rename", "of-f", "renamed").code == 2)
        #expect(store("snapshot delete", "renamed").code == 64)
        #expect(store("snapshot delete", "renamed", "--dry-run").text.contains("Nothing was changed"))
        #expect(store("snapshot delete", "renamed", "--yes").code == 0)
        #expect(store("snapshot delete", "renamed", "--yes").code == 2)
        #expect(store("snapshot delete", "s", input: Data("y\n".utf8), asksPeople: true).code == 0)
        #expect(store("snapshot list").text == "No snapshots.\n")
    }

    @Test func theLogListsCommits() throws {
        let store = changed()
        let commits = try #require(try store("log", "--json").json()["commits"] as? [[String: Any]])
        #expect(commits.first?["message"] as? String == "second")
        #expect(commits.first?["pages"] as? Int == 1)
        #expect(commits.first?["retained"] as? Bool == true)
        let versions = commits.compactMap { $0["version"] as? Int }
        #expect(versions == versions.sorted(by: >))
        #expect(commits.contains { $0["snapshots"] as? [String] == ["s"] })
        #expect((try store("log", "--limit", "1", "--json").json()["commits"] as? [Any])?.count == 1)
    }

    @Test func listingAPastState() throws {
        let store = changed()
        #expect(store("create", "later", "--size", "1").code == 0)
        #expect(!store("ls", "--at", "s").text.contains("later"))
        #expect(store("ls", "--at", "head").text.contains("later"))
        #expect(store("ls", "--at", "none").code == 2)
        #expect(store("ls", "--at", "99999").code == 2)
    }
}
