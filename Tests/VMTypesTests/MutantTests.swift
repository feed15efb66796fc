import Foundation
import Testing
import VMTypes

/// Bugs can be planted in the build that is made for that, and each is known to those who look for it.
@Suite struct MutantTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The names that `Mutant` declares, and whether a comment above each says what is wrong with it.
    private static func declared() throws -> [(name: String, isExplained: Bool)] {
        var found: [(String, Bool)] = []
        var last = ""
        for line in try text("Sources/VMTypes/Mutant.swift").components(separatedBy: "\n") {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.hasPrefix("case ") { found.append((String(line.dropFirst(5)), last.hasPrefix("/// "))) }
            last = line
        }
        return found
    }

    @Test func eachIsExplainedPlantedAndInTheTable() throws {
        let declared = try Self.declared()
        #expect(declared.count >= 30 && Set(declared.map(\.name)).count == declared.count)
        let sources = Self.root.appendingPathComponent("Sources").path
        var planted: Set<String> = []
        for path in FileManager.default.enumerator(atPath: sources)?.compactMap({ $0 as? String }) ?? [] where path.hasSuffix(".swift") {
            for part in try Self.text("Sources/" + path).components(separatedBy: "Mutant.isPlanted(.").dropFirst() {
                planted.insert(String(part.prefix { $0.isLetter || $0.isNumber }))
            }
        }
        #expect(planted == Set(declared.map(\.name)))
        let manual = try Self.text("docs/CRASHLAB.md"), tool = try Self.text("Tools/mutants")
        for mutant in declared {
            #expect(mutant.isExplained, "\(mutant.name)")
            #expect(manual.contains("| `\(mutant.name)` |"), "the table in docs/CRASHLAB.md lacks \(mutant.name)")
            #expect(tool.contains("\n\(mutant.name): "), "Tools/mutants does not say which layers see \(mutant.name)")
        }
    }

    #if VARVE_MUTANTS
        @Test func theOneThatIsNamedLives() {
            let name = ProcessInfo.processInfo.environment["VARVE_MUTANT"] ?? ""
            #expect(Mutant.allCases.filter(Mutant.isPlanted).map { "\($0)" } == (name.isEmpty ? [] : [name]))
        }
    #else
        /// Nothing reads the variable: its name is not even in the program. (This program is all modules and their tests.)
        @Test func withoutTheConditionNoneCanLive() throws {
            let name = ["VARVE", "MUTANT"].joined(separator: "_")
            setenv(name, "journalNotFlushed", 1)
            #expect(!Mutant.isPlanted(.journalNotFlushed))
            let program = try Data(contentsOf: URL(fileURLWithPath: "/proc/self/exe"), options: .alwaysMapped)
            #expect(program.range(of: Data((name + "\0").utf8)) == nil)
        }
    #endif
}
