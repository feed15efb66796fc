import Foundation
import Testing

@testable import VarveCommands

/// What takes something away asks a person, needs `--yes` elsewhere, and shows with `--dry-run` what it would do.
@Suite struct ConfirmationTests {
    private func filled() -> TestStore {
        let store = TestStore()
        #expect(store("import", store.file("f", randomBytes(40_960)), "--name", "f").code == 0)
        return store
    }

    @Test func cuttingAnObject() throws {
        let store = filled()
        func size() throws -> Int? { (try store("ls", "--json").json()["objects"] as? [[String: Any]])?.first?["size"] as? Int }
        #expect(store("resize", "f", "--size", "4K").code == 64)
        #expect(store("resize", "f", "--size", "4K", input: Data("n\n".utf8), asksPeople: true).code != 0)
        let plan = try store("resize", "f", "--size", "4K", "--dry-run", "--json").json()
        #expect(plan["dry_run"] as? Bool == true && plan["version"] is NSNull && plan["size_before"] as? Int == 40_960)
        #expect(try size() == 40_960)
        #expect(store("resize", "f", "--size", "8K", input: Data("y\n".utf8), asksPeople: true).code == 0)
        #expect(try size() == 8192)
        #expect(store("resize", "f", "--size", "4K", "--yes").code == 0)
        #expect(try size() == 4096)
        // Nothing is lost where it grows.
        #expect(store("resize", "f", "--size", "1M").code == 0)
        #expect(try size() == 1 << 20)
    }

    @Test func keepingLess() throws {
        let store = filled()
        #expect(store("retain", "--versions", "50", "--hours", "2").code == 0)
        #expect(store("retain", "--versions", "49").code == 64)
        #expect(store("retain", "--versions", "60", "--hours", "1").code == 64)
        let plan = try store("retain", "--versions", "2", "--dry-run", "--json").json()
        #expect(plan["versions"] as? Int == 2 && plan["changed"] as? Bool == false && plan["dry_run"] as? Bool == true)
        #expect(store("retain").text == "Keeps the newest 50 versions and all of the last 2 hours.\n")
        #expect(store("retain", "--versions", "2", "--hours", "0", "--yes").code == 0)
        #expect(store("retain").text == "Keeps the newest 2 versions.\n")
    }

    @Test func replacingAFile() throws {
        let store = filled()
        let there = store.file("there", Data("precious".utf8))
        #expect(store("export", "f", there).code == 64)
        let plan = try store("export", "f", there, "--dry-run", "--json").json()
        #expect(plan["replaces"] as? Bool == true && plan["size"] as? Int == 40_960)
        #expect(FileManager.default.contents(atPath: there) == Data("precious".utf8))
        #expect(store("export", "f", there, input: Data("y\n".utf8), asksPeople: true).code == 0)
        #expect(FileManager.default.contents(atPath: there) == randomBytes(40_960))
        let absent = store.beside("absent")
        #expect(try store("export", "f", absent, "--dry-run", "--json").json()["replaces"] as? Bool == false)
        #expect(!FileManager.default.fileExists(atPath: absent))
    }

    /// What `snapshot create` refuses could not be named on the command line.
    @Test(arguments: ["head", "12"]) func namesOfVersionsAreNoSnapshots(name: String) {
        let store = filled()
        #expect(store("snapshot create", "s").code == 0)
        #expect(store("snapshot create", name).code == 64)
        #expect(store("snapshot rename", "s", name).code == 64)
        #expect(store("snapshot show", "s").code == 0)
    }

    /// The writer is asked to do it.
    @Test func optimizeBesideAWriter() throws {
        guard let program = builtProgram else { return }
        let store = filled()
        #expect(store("create", "o", "--size", "64K").code == 0)
        let writer = try RunningProgram(program, ["write", store.path, "o", "--offset", "0"])
        var seen = false
        for _ in 0..<200 where !seen {
            seen = store("leases").text.contains("process \(writer.process.processIdentifier)")
            if !seen { usleep(20_000) }
        }
        #expect(seen)
        let outcome = store("optimize", "f")
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(store("optimize", "none").code == 2)
        try writer.input.fileHandleForWriting.write(contentsOf: Data("written".utf8))
        #expect(try writer.finish().code == 0)
    }
}
