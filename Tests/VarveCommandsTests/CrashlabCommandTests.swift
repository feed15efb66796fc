import Foundation
import TestSupport
import Testing

/// `varve crashlab`, as docs/CRASHLAB.md describes it.
@Suite(.enabled(if: builtProgram != nil, "needs the program, built beside the tests"))
struct CrashlabCommandTests {
    private let folder = TemporaryFolder("crashlab-command", inMemory: true)

    private func crashlab(_ arguments: String...) -> Outcome {
        run(["crashlab"] + arguments, executable: builtProgram)
    }

    @Test func aRunOfOurStoreFindsNothingAndItsControlDoes() throws {
        let kept = folder.path + "/kept"
        let outcome = crashlab("run", "enumerator", "--seed", "11", "--states", "40", "--failures", kept, "--json")
        #expect(outcome.code == 0, "\(outcome.errors)")
        let report = try outcome.json()
        #expect(report["seed"] as? Int == 11 && report["states"] as? Int == 40)
        #expect((report["violations"] as? [Any])?.isEmpty == true)
        #expect((report["control"] as? [String: Any])?["noticed"] as? Bool == true)
        #expect(!FileManager.default.fileExists(atPath: kept))
    }

    @Test func aViolationIs1AndIsReproduced() throws {
        let kept = folder.path + "/kept"
        let outcome = crashlab("run", "enumerator", "--store-adapter", "lmdb-nosync", "--seed", "1", "--failures", kept)
        #expect(outcome.code == 1, "\(outcome.errors)")
        #expect(outcome.text.contains("VIOLATION"))
        let name = try #require(try FileManager.default.contentsOfDirectory(atPath: kept).sorted().first)
        let again = crashlab("reproduce", kept + "/" + name, "--json")
        #expect(again.code == 1)
        #expect(try again.json()["violation"] is String)
    }

    @Test func whatCanNotBeTestedIsSaid() throws {
        let failed = crashlab("run", "enumerator", "--store-adapter", "/bin/false", "--json", "--failures", folder.path + "/kept")
        #expect(failed.code == 2)
        #expect(try failed.jsonError()["code"] as? String == "lab")
        #expect(crashlab("run", "enumerator", "--store-adapter", "/no/such/program", "--failures", folder.path + "/kept").code == 2)
        #expect(crashlab("run", "--budget", "0").code == 64)
        #expect(crashlab("run", "nonsense").code == 64)
        #expect(crashlab("reproduce", folder.path + "/none").code == 2)
    }
}
