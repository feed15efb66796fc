import Varve
import ArgumentParser
import Foundation
import Testing

@testable import VarveCommands

/// Every command's words, from the root on.
private func commands(_ type: any ParsableCommand.Type = VarveCommand.self, _ words: [String] = []) -> [[String]] {
    [words]
        + type.configuration.subcommands.filter { $0.configuration.shouldDisplay }.flatMap {
            commands($0, words + [$0.configuration.commandName ?? ""])
        }
}

@Suite struct UsageTests {
    @Test(arguments: commands())
    func helpHasAnExample(_ words: [String]) {
        let outcome = run(words + ["--help"])
        #expect(outcome.code == 0)
        #expect(outcome.errors.isEmpty)
        let example = outcome.text.components(separatedBy: "Example:\n").dropFirst().first ?? ""
        #expect(example.hasPrefix("  varve"))
    }

    @Test(arguments: commands().filter { !$0.isEmpty && ![["snapshot"], ["heap"], ["crashlab"]].contains($0) })
    func everyCommandTakesJSON(_ words: [String]) {
        #expect(run(words + ["--help"]).text.contains("--json"))
    }

    @Test func everyCommandIsThere() {
        let expected = [
            "init", "create", "resize", "rename", "rm", "import", "export", "ls", "read", "write", "log", "snapshot",
            "diff", "rollback", "clone", "verify", "repair", "reclaim", "optimize", "retain", "backup", "leases", "stat",
            "doctor", "demo", "maps", "serve", "heatmap", "heap", "crashlab",
        ]
        #expect(Set(commands().filter { $0.count == 1 }.map { $0[0] }) == Set(expected))
        let inSnapshot = commands().filter { $0.count == 2 && $0[0] == "snapshot" }.map { $0[1] }
        #expect(Set(inSnapshot) == ["create", "list", "show", "delete", "rename"])
    }

    @Test(arguments: [
        ["create", "s"], ["create", "s", "o"], ["create", "s", "o", "--size", "1Q"], ["ls"], ["ls", "s", "--nonsense"],
        ["read", "s", "o", "--offset", "99999999T"], ["write", "s", "o"], ["log", "s", "--limit", "0"],
        ["retain", "s", "--hours", "-1"], ["retain", "s", "--versions", "0"], ["demo", "--kills", "x"], ["snapshot"], [],
        ["snapshot", "create", "s"], ["init", "s", "--ring", "1X"], ["create", "s", "o", "--size", "1", "--residency", "x"],
    ])
    func wrongUsageIs64(_ arguments: [String]) {
        let outcome = run(arguments)
        #expect(outcome.code == 64)
        #expect(outcome.output.isEmpty)
        #expect(!outcome.errors.isEmpty)
    }

    @Test(arguments: [
        ("snapsho", "varve snapshot"), ("lss", "varve ls"), ("imprt", "varve import"), ("rolback", "varve rollback"),
        ("snapshot craete", "varve snapshot create"), ("opt", "varve optimize"),
    ])
    func aMisspeltCommandGetsASuggestion(_ words: String, _ suggestion: String) throws {
        let arguments = words.split(separator: " ").map(String.init)
        let outcome = run(arguments + ["s"])
        #expect(outcome.code == 64)
        #expect(outcome.errors.contains("Did you mean `\(suggestion)`"))
        let error = try run(arguments + ["s", "--json"]).jsonError()
        #expect(error["code"] as? String == "usage")
    }

    @Test func aWordLikeNoCommandGetsTheList() {
        #expect(run(["qqqqqq"]).errors.contains("varve --help"))
        #expect(run(["demo-chil"]).errors.contains("demo-child") == false)
    }

    @Test func usageErrorsAreJSONToo() throws {
        let error = try run(["create", "s", "--json"]).jsonError()
        #expect(error["code"] as? String == "usage")
        #expect(Set(error.keys) == ["code", "message", "advice", "path", "errno"])
    }

    @Test func versionAndHelp() {
        #expect(run(["--version"]).text.first?.isNumber == true)
        #expect(run(["help", "ls"]).text == run(["ls", "--help"]).text)
        #expect(run(["--help"]).text.contains("11 locked by another"))
    }
}

@Suite struct StateTextTests {
    @Test func references() {
        #expect(StateText.parse("12") == .version(.init(12)))
        #expect(StateText.parse("head") == .head)
        #expect(StateText.parse("v12") == .snapshot("v12"))
        #expect(StateText.parseReference("a") == .init(name: "a", state: .head))
        #expect(StateText.parseReference("a@3") == .init(name: "a", state: .version(.init(3))))
        #expect(StateText.parseReference("a@before") == .init(name: "a", state: .snapshot("before")))
        #expect(StateText.parseReference("a@head") == .init(name: "a", state: .head))
        #expect(StateText.parseReference("a@b@head") == .init(name: "a@b", state: .head))
        #expect(StateText.parseReference("#7@1") == .init(name: "#7", state: .version(.init(1))))
    }
}
