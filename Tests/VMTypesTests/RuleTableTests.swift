import Foundation
import Testing

/// docs/RULES.md names tests that there are.
@Suite struct RuleTableTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    @Test func everyRuleNamesATestThatThereIs() throws {
        var tests: Set<String> = []
        for path in FileManager.default.enumerator(atPath: Self.root + "/Tests")?.compactMap({ $0 as? String }) ?? []
        where path.hasSuffix(".swift") || path.hasSuffix(".c") {
            let text = try String(contentsOfFile: Self.root + "/Tests/" + path, encoding: .utf8)
            // A test's attribute stands before its function, on the same line or above it.
            for match in text.matches(of: /@Test[^{}]*?func ([A-Za-z]+)\(|\nTEST\(([a-z_]+)\)/) {
                if let name = match.output.1 ?? match.output.2 { tests.insert(String(name)) }
            }
        }
        #expect(tests.count > 500)
        let table = try String(contentsOfFile: Self.root + "/docs/RULES.md", encoding: .utf8)
        var rows = 0
        for line in table.split(separator: "\n") where line.hasPrefix("| ") && line != "| rule | test |" {
            let columns = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            #expect(columns.count == 2, "\(line)")
            let names = columns.last?.components(separatedBy: ", ") ?? []
            for name in names { #expect(tests.contains(name.trimmingCharacters(in: ["`"])), "\(name)") }
            rows += 1
        }
        #expect(rows > 80)
    }
}
