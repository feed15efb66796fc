import Foundation
import TestSupport
import Testing

/// Tools/python/varve.py, by Python's own unit tests.
@Suite(
    .enabled(if: buildFolder != nil, "needs the library, built beside the tests"),
    .enabled(if: python != nil, "needs python3: Tools/setup --test installs it"))
struct PythonTests {
    private var environment: [String: String] {
        [
            "PYTHONPATH": root + "/Tools/python", "PYTHONDONTWRITEBYTECODE": "1",
            "VARVE_LIBRARY": (buildFolder ?? "") + "/libCVarve.so",
        ]
    }

    @Test(.timeLimit(.minutes(5))) func unitTests() throws {
        let outcome = try run(python ?? "", [root + "/Tools/python/test_varve.py", "-v"], environment: environment)
        #expect(outcome.code == 0, "\(outcome.text)")
        let count = try #require(outcome.text.firstMatch(of: /Ran ([0-9]+) tests/)?.output.1)
        #expect(Int(count) ?? 0 > 10)
    }

    @Test func theReadmesExample() throws {
        let folder = TemporaryFolder("varve-python")
        let example = try #require(try readmeBlock("python", with: "varve.create"))
        let source = folder.path + "/example.py"
        try ("import os; os.chdir('\(folder.path)')\n" + example).write(toFile: source, atomically: true, encoding: .utf8)
        let outcome = try run(python ?? "", [source], environment: environment)
        #expect(outcome.code == 0 && outcome.text.contains("41"), "\(outcome.text)")
    }

    @Test func theReadmesCounter() throws {
        let folder = TemporaryFolder("varve-python")
        let example = try #require(try readmeBlock("python", with: "open_heap"))
        let source = folder.path + "/counter.py"
        try ("import os; os.chdir('\(folder.path)')\n" + example + "print(varve.open_heap('counter.varve').root('n', 'q').value)\n")
            .write(toFile: source, atomically: true, encoding: .utf8)
        for expected in 1...2 {
            let outcome = try run(python ?? "", [source], environment: environment)
            #expect(outcome.code == 0 && outcome.text == "\(expected)\n", "\(outcome.text)")
        }
    }
}
