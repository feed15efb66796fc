import Foundation
import Testing

@testable import VarveCommands

/// What only processes of their own show.
@Suite(.enabled(if: builtProgram != nil, "needs the program, built beside the tests"))
struct ProgramTests {
    private let program = builtProgram ?? ""

    @Test func aWriterElsewhereIs11() throws {
        let store = TestStore()
        #expect(store("create", "o", "--size", "64K").code == 0)
        let writer = try RunningProgram(program, ["write", store.path, "o", "--offset", "0"])
        // It is the writer once its process shows.
        var seen = false
        for _ in 0..<200 where !seen {
            seen = store("leases").text.contains("process \(writer.process.processIdentifier)")
            if !seen { usleep(20_000) }
        }
        #expect(seen)
        for arguments in [
            ["create", store.path, "p", "--size", "1"], ["rm", store.path, "o", "--yes"], ["resize", store.path, "o", "--size", "1"],
            ["rollback", store.path, "1", "--yes"], ["clone", store.path, "o", "p"], ["import", store.path, "/etc/passwd"],
            ["write", store.path, "o", "--offset", "0"], ["rename", store.path, "o", "p"],
        ] {
            let outcome = run(arguments + ["--json"])
            #expect(outcome.code == 11, "\(arguments[0]): \(outcome.errors)")
            let error = try outcome.jsonError()
            #expect(error["code"] as? String == "locked")
            #expect((error["message"] as? String)?.contains("\(writer.process.processIdentifier)") == true)
        }
        #expect(store("ls").text.contains("o"))
        #expect(store("read", "o").output.count == 65536)
        #expect(store("snapshot create", "live").code == 0)
        #expect(store("backup", store.beside("copy")).code == 0)
        try writer.input.fileHandleForWriting.write(contentsOf: Data("written".utf8))
        let outcome = try writer.finish()
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(store("read", "o", "--length", "7").output == Data("written".utf8))
    }

    @Test func bytesThroughPipes() throws {
        let store = TestStore()
        let bytes = randomBytes(10_000_000, seed: 2)
        #expect(store("import", store.file("f", bytes)).code == 0)
        #expect(store("create", "copy", "--size", "\(bytes.count)").code == 0)
        let command = "'\(program)' read '\(store.path)' f > '\(store.beside("out"))' && "
            + "'\(program)' write '\(store.path)' copy --offset 0 < '\(store.beside("out"))'"
        #expect(try RunningProgram("/bin/sh", ["-c", command]).finish().code == 0)
        #expect(store("read", "copy").output == bytes)
    }

    @Test func aReaderThatGoesAwayEndsItQuietly() throws {
        let store = TestStore()
        #expect(store("import", store.file("f", randomBytes(10_000_000))).code == 0)
        let command = "set -o pipefail; '\(program)' read '\(store.path)' f | head -c 10 | wc -c"
        let outcome = try RunningProgram("/bin/bash", ["-c", command]).finish()
        #expect(outcome.code == 0)
        #expect(outcome.errors.isEmpty)
        #expect(try store("stat", "--json").json()["clean"] as? Bool == true)
    }

    @Test func aFullDeviceIsAnError() throws {
        let store = TestStore()
        #expect(store("create", "o", "--size", "64K").code == 0)
        let outcome = try RunningProgram("/bin/sh", ["-c", "'\(program)' read '\(store.path)' o > /dev/full"]).finish()
        #expect(outcome.code == 2)
        #expect(outcome.errors.contains("standard output"))
    }

    @Test func verifyRunsInAProcessOfItsOwn() throws {
        let store = TestStore()
        #expect(store("import", store.file("f", randomBytes(40_960))).code == 0)
        let intact = run(["verify", store.path, "--json"], executable: program)
        #expect(intact.code == 0, "\(intact.errors)")
        #expect(run(["verify", store.beside("none")], executable: program).code == 10)
        try store.damagePages()
        #expect(run(["verify", store.path], executable: program).code == 12)
    }

    @Test(arguments: [SIGBUS, SIGSEGV, SIGILL])
    func aSignalInTheCheckIsDamage(_ signal: Int32) throws {
        let store = TestStore()
        let script = store.file("dies", Data("#!/bin/sh\nkill -\(signal) $$\n".utf8))
        #expect(chmod(script, 0o755) == 0)
        let outcome = run(["verify", store.path, "--json"], executable: script)
        #expect(outcome.code == 12)
        let findings = try #require(try outcome.json()["findings"] as? [[String: Any]])
        #expect((findings.first?["message"] as? String)?.contains("signal \(signal)") == true)
    }

    @Test func theDemoHolds() throws {
        let store = TestStore()
        let file = store.file("input", randomBytes(300_001))
        let kept = store.beside("kept.varve")
        let outcome = run(["demo", file, "--keep", kept, "--kills", "2", "--json"], executable: program)
        #expect(outcome.code == 0, "\(outcome.text) \(outcome.errors)")
        let result = try outcome.json()
        #expect(result["ok"] as? Bool == true)
        let steps = try #require(result["steps"] as? [[String: Any]])
        #expect(
            steps.map { $0["step"] as? String } == [
                "create", "import", "map", "edit", "edit-more", "recover", "recover", "compare", "rollback", "export", "verify",
            ])
        #expect(steps.allSatisfy { $0["ok"] as? Bool == true })
        #expect(run(["read", kept, "file@imported"]).output == randomBytes(300_001))
        let again = run(["demo", file, "--keep", kept, "--json"], executable: program)
        #expect(again.code == 2)
        #expect(try again.jsonError()["code"] as? String == "storeExists")
        #expect(try again.json()["ok"] as? Bool == false)
    }

    @Test(arguments: [1, 100, 4096, 4097])
    func theDemoHoldsForSmallFiles(_ size: Int) throws {
        let store = TestStore()
        let file = store.file("input", randomBytes(size))
        let outcome = run(["demo", file, "--kills", "1"], executable: program)
        #expect(outcome.code == 0, "\(outcome.text) \(outcome.errors)")
    }

    @Test func theDemoNeedsAFileWithSomethingInIt() {
        let store = TestStore()
        #expect(run(["demo", store.file("empty", Data())]).code == 2)
        #expect(run(["demo", store.beside("absent")]).code == 2)
    }
}

@Suite struct DemoPatternTests {
    @Test func commitsAreAFunctionOfTheirNumber() {
        let pattern = DemoPattern(seed: 7, size: 100_000)
        #expect(pattern.pages(of: 3) == DemoPattern(seed: 7, size: 100_000).pages(of: 3))
        #expect(pattern.pages(of: 3) != pattern.pages(of: 4))
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        pattern.fill(pattern.pageCount - 1, commit: 1, at: memory.baseAddress!)
        // The last page has 100,000 mod 4,096 bytes; the rest is no business of the object's.
        #expect(memory[1696...].allSatisfy { $0 == 0 })
        #expect(memory[..<1696].contains { $0 != 0 })
    }
}
