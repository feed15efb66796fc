import CrashLab
import Foundation
import TestSupport

/// The programs that are built beside the tests.
enum LabPrograms {
    private static let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    private static let candidates = [folder.path] + CommandLine.arguments.map { ($0 as NSString).deletingLastPathComponent }

    private static func find(_ name: String) -> String {
        candidates.map { $0 + "/" + name }.first { FileManager.default.fileExists(atPath: $0) } ?? ""
    }

    static let child = find("varve-crash-child")
    static let varve = find("varve")
    static let recorder = find("libvarve-crash-recorder.so")
    static var areBuilt: Bool { ![child, varve, recorder].contains("") }

    /// One of the adapters that `varve` comes with.
    static func adapter(_ name: String) -> Adapter { Adapter([varve, "crashlab", "adapter", name]) }

    /// The same with what layers besides the enumerator use.
    static func layered(_ name: String) -> Adapter {
        var adapter = adapter(name)
        adapter.inspect = [varve, "crashlab", "adapter", name, "inspect"]
        adapter.serve = [varve, "crashlab", "adapter", name, "serve"]
        if name == "varve" {
            adapter.failpoints = "VARVE_FAILPOINT"
            adapter.inspectSmall = [varve, "crashlab", "adapter", name, "inspect-small"]
        }
        return adapter
    }

    static func lab(_ adapter: Adapter, in scratch: TemporaryFolder) -> Enumerator {
        Enumerator(adapter: adapter, recorder: recorder, scratch: scratch.path, failures: scratch.path)
    }
}
