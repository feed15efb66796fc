import Foundation
import TestSupport
import Testing

/// The programs of Examples: they do what they say, also where something kills them.
@Suite(.serialized, .enabled(if: buildFolder != nil, "needs varve-examples, built beside the tests"))
struct ExamplesTests {
    private let folder = TemporaryFolder("varve-examples")

    @Test(.timeLimit(.minutes(5))) func theBankSurvivesKills() throws {
        let store = folder.path + "/bank.varve"
        var random = SystemRandomNumberGenerator()
        for _ in 0..<3 {
            let bank = try Running((buildFolder ?? "") + "/varve-examples", ["bank", store])
            let start = Date()
            while bank.isRunning, bank.text.isEmpty, Date().timeIntervalSince(start) < 60 { usleep(5000) }
            usleep(.random(in: 0..<50_000, using: &random))
            bank.kill()
            let outcome = bank.finish()
            #expect(outcome.code == -SIGKILL, "\(outcome.text)")
            let told = try #require(outcome.text.split(separator: "\n").compactMap { Int($0) }.last, "\(outcome.text)")
            let found = try example("bank", store, "--check")
            #expect(found.code == 0, "\(found.text)")
            #expect(found.text.contains("sound"))
            // What it had said was made is there: a killed process loses no commit, deferred ones neither.
            let transfers = try #require(found.text.split(separator: " ").first.flatMap { Int($0) })
            #expect(transfers >= told)
        }
    }

    @Test func theIndexFindsWhatIsThere() throws {
        let store = folder.path + "/words.varve"
        let first = try run((buildFolder ?? "") + "/varve-examples", ["index", store] + corpus)
        #expect(first.code == 0, "\(first.text)")
        var expected: [String: [String]] = [:]
        for path in corpus {
            let content = try String(contentsOfFile: path, encoding: .utf8)
            for (line, text) in content.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                for word in Set(text.lowercased().split { !$0.isLetter }) {
                    expected[String(word), default: []].append("\(path):\(line + 1)")
                }
            }
        }
        #expect(first.text == "\(corpus.count) texts, \(expected.count) words\n")
        for word in ["the", "license", expected.keys.min()!, expected.keys.max()!] {
            let found = try example("find", store, word)
            #expect(found.text.split(separator: "\n").map(String.init) == expected[word] ?? [])
        }
        #expect(try example("find", store, "no such word").text == "")
        // A text that can't be read changes nothing.
        #expect(try example("index", store, folder.path + "/none").code == 2)
        #expect(try example("index", store).text == first.text)
    }

    @Test func accountsAreLookedAtAsTheyWere() throws {
        let store = folder.path + "/accounts.varve"
        #expect(try example("accounts", store).text == "100 on Monday, 90 after 1 transfers\n")
        #expect(try example("accounts", store).text == "100 on Monday, 80 after 2 transfers\n")
    }

    @Test func stepsAreUndoneAndDoneAgain() throws {
        let store = folder.path + "/text.varve"
        #expect(try example("edit", store, "one").text == "one\n")
        #expect(try example("edit", store, "two").text == "one\ntwo\n")
        #expect(try example("undo", store).text == "one\n")
        #expect(try example("undo", store).text == "")
        #expect(try example("undo", store).text == "(nothing to undo)\n")
        #expect(try example("redo", store).text == "one\n")
        #expect(try example("redo", store).text == "one\ntwo\n")
        #expect(try example("redo", store).text == "(nothing to do again)\none\ntwo\n")
        #expect(try example("undo", store).text == "one\n")
        #expect(try example("edit", store, "three").text == "one\nthree\n")
        #expect(try example("redo", store).text == "(nothing to do again)\none\nthree\n")
        #expect(try example("show", store).text == "one\nthree\n")
    }

    @Test func theTutorialDoesWhatItSays() throws {
        let outcome = try example("tutorial", folder.path)
        #expect(outcome.code == 0)
        #expect(
            outcome.text == """
                counted 1
                counted 2
                ["by the lake", "on the field"] true
                1 in the morning, 2 now
                1 again
                bird 7 weighs 5.5

                """)
    }

    @Test(.enabled(if: program("cc") != nil, "needs cc: Tools/setup --test installs it")) func theIndexInC() throws {
        let compiled = folder.path + "/inverted"
        for name in ["libvarve.so.0", "libvarve.so"] {
            try FileManager.default.createSymbolicLink(
                atPath: folder.path + "/" + name, withDestinationPath: (buildFolder ?? "") + "/libCVarve.so")
        }
        let built = try run(
            program("cc") ?? "",
            [
                "-Wall", "-Wextra", "-Werror", "-std=c11", "-O1", root + "/Examples/C/inverted.c", "-I\(root)/Sources/CVarve/include",
                "-L\(folder.path)", "-lvarve", "-Wl,-rpath,\(folder.path)", "-o", compiled,
            ])
        try #require(built.code == 0, "\(built.text)")
        let store = folder.path + "/c.varve"
        var lines = 0
        var first = 0
        var bytes: [UInt8] = []
        for path in corpus.prefix(2) {
            let content = try #require(FileManager.default.contents(atPath: path))
            #expect(try run(compiled, [store, path]).code == 0)
            bytes += content + [0x0a]
        }
        for (number, line) in bytes.dropLast().split(separator: 0x0a, omittingEmptySubsequences: false).enumerated() {
            let words = line.map { ($0 | 0x20) }.split { !(0x61...0x7a).contains($0) }
            if words.contains(where: { $0.elementsEqual("the".utf8) }) {
                lines += 1
                if first == 0 { first = number + 1 }
            }
        }
        #expect(try run(compiled, [store, "-w", "the"]).text == "\(lines) \(first)\n")
        #expect(try run(compiled, [store, "-w", "nosuchword"]).text == "0 0\n")
        #expect(try run(compiled, []).code == 64)
    }

    @Test(.enabled(if: program("python3") != nil, "needs python3: Tools/setup --test installs it")) func theReadingsInPython() throws {
        let store = folder.path + "/readings.varve"
        func add(_ values: String...) throws -> String {
            let outcome = try run(
                program("python3") ?? "", [root + "/Examples/Python/readings.py", store] + values,
                environment: [
                    "PYTHONPATH": root + "/Tools/python", "PYTHONDONTWRITEBYTECODE": "1",
                    "VARVE_LIBRARY": (buildFolder ?? "") + "/libCVarve.so",
                ])
            #expect(outcome.code == 0, "\(outcome.text)")
            return outcome.text
        }
        #expect(try add("20", "21") == "mean 20.50\n")
        #expect(try add("23.5", "-1", "1.5") == "mean 13.00\nwas  20.50\n")
    }
}
