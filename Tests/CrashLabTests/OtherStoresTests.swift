import CrashLab
import Foundation
import TestSupport
import Testing

/// What is known of other stores, found again.
@Suite(.enabled(if: LabPrograms.areBuilt, "needs the programs, built beside the tests"))
struct OtherStoresTests {
    let scratch = TemporaryFolder("crashlab-others", inMemory: true)

    @Test(arguments: ["lmdb", "sqlite-wal"])
    func soundOnesPass(name: String) throws {
        let report = try LabPrograms.lab(LabPrograms.adapter(name), in: scratch).run(seed: 3, limit: Budget.of(quick: 200, default: 600, full: 1500))
        for failure in report.failures.prefix(3) { Issue.record("\(failure)") }
        #expect(report.distinct > 100)
    }

    /// LMDB without its flushes, without that of its meta page, and made where it is used; SQLite without its flushes, and with
    /// a journal whose removal is not synced.
    @Test(arguments: ["lmdb-nosync", "lmdb-nometasync", "lmdb-naive", "sqlite-off", "sqlite-delete"])
    func unsoundOnesAreFound(name: String) throws {
        var lab = LabPrograms.lab(LabPrograms.adapter(name), in: scratch)
        lab.mostFailures = 1
        #expect(try !lab.run(seed: 1).failures.isEmpty)
    }

    // MARK: The adapter that docs/CRASHLAB.md shows

    private func documented(without line: String?) throws -> Adapter {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let page = try String(contentsOf: root.appendingPathComponent("docs/CRASHLAB.md"), encoding: .utf8)
        var text = try #require(page.components(separatedBy: "```python\n").dropFirst().first?.components(separatedBy: "```").first)
        if let line {
            #expect(text.contains(line))
            text = text.replacingOccurrences(of: line, with: "pass")
        }
        let path = scratch.path + "/adapter-\(line?.count ?? 0).py"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return Adapter([Self.python, path])
    }

    static let python = "/usr/bin/python3"
    static let hasPython = FileManager.default.isExecutableFile(atPath: python)

    @Test(.enabled(if: hasPython, "needs python3"))
    func theDocumentedAdapterPasses() throws {
        let report = try LabPrograms.lab(try documented(without: nil), in: scratch).run(seed: 1)
        for failure in report.failures.prefix(3) { Issue.record("\(failure)") }
        #expect(report.acknowledgements == 19 && report.distinct > 19)
    }

    @Test(.enabled(if: hasPython, "needs python3"), arguments: ["os.fsync(file.fileno())", "os.fsync(parent)"])
    func withoutOneOfItsFlushesItFails(line: String) throws {
        var lab = LabPrograms.lab(try documented(without: line), in: scratch)
        lab.mostFailures = 1
        #expect(try !lab.run(seed: 1).failures.isEmpty)
    }
}
