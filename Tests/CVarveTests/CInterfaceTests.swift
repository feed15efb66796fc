import Foundation
import TestSupport
import Testing

/// The C interface, by a C program that knows the header alone.
@Suite(
    .enabled(if: buildFolder != nil, "needs the library, built beside the tests"),
    .enabled(if: compiler != nil, "needs cc: Tools/setup --test installs it"))
struct CInterfaceTests {
    /// A folder with the library under its own name, as an installation has it.
    private func library(_ folder: TemporaryFolder) throws -> String {
        let files = FileManager.default
        try files.createSymbolicLink(
            atPath: folder.path + "/libvarve.so.0", withDestinationPath: (buildFolder ?? "") + "/libCVarve.so")
        try files.createSymbolicLink(atPath: folder.path + "/libvarve.so", withDestinationPath: "libvarve.so.0")
        return folder.path
    }

    private func compile(_ sources: [String], _ options: [String], to program: String) throws {
        let outcome = try run(compiler ?? "", ["-Wall", "-Wextra", "-Werror", "-O1", "-g"] + sources + options + ["-o", program])
        try #require(outcome.code == 0, "\(outcome.text)")
    }

    /// tracking by SIGSEGV, and copying pages when they are mapped, are what other hosts do.
    @Test(.timeLimit(.minutes(5)), arguments: ["", "signal", "copy"]) func rulesAndCodes(_ mode: String) throws {
        let folder = TemporaryFolder("varve-c")
        let library = try library(folder)
        let sources = try FileManager.default.contentsOfDirectory(atPath: root + "/Tests/CInterface")
            .filter { $0.hasSuffix(".c") }.sorted().map { root + "/Tests/CInterface/" + $0 }
        #expect(sources.count > 5)
        let program = folder.path + "/interface"
        try compile(
            sources,
            ["-std=c11", "-I\(root)/Sources/CVarve/include", "-L\(library)", "-lvarve", "-lpthread", "-Wl,-rpath,\(library)"],
            to: program)
        let work = TemporaryFolder("varve-c-stores")
        let outcome = try run(program, [work.path], environment: ["VARVE_TEST_MODE": mode])
        #expect(outcome.code == 0, "\(outcome.text)")
        #expect(trimmed(outcome.text).filter { $0.hasPrefix("ok ") }.count > 50)
    }

    @Test(arguments: [["-std=c99"], ["-std=c17"], ["-x", "c++", "-std=c++17"]]) func theHeaderCompiles(_ options: [String]) throws {
        let folder = TemporaryFolder("varve-c")
        let source = folder.path + "/header.c"
        try "#include <varve.h>\nint main(void) { return varve_last_error() == 0; }\n"
            .write(toFile: source, atomically: true, encoding: .utf8)
        try compile([], ["-I\(root)/Sources/CVarve/include", "-pedantic"] + options + ["-c", source], to: folder.path + "/header.o")
    }

    /// README.md's counter, word for word.
    @Test func theReadmesCounter() throws {
        let folder = TemporaryFolder("varve-c")
        let library = try library(folder)
        let source = folder.path + "/counter.c"
        try #require(try readmeBlock("c", with: "varve_heap_open")).write(toFile: source, atomically: true, encoding: .utf8)
        try compile(
            [source], ["-I\(root)/Sources/CVarve/include", "-L\(library)", "-lvarve", "-Wl,-rpath,\(library)"],
            to: folder.path + "/counter")
        for _ in 0..<3 {
            let outcome = try run("/bin/sh", ["-c", "cd '\(folder.path)' && ./counter"])
            #expect(outcome.code == 0, "\(outcome.text)")
        }
        let roots = try run((buildFolder ?? "") + "/varve", ["heap", "roots", folder.path + "/counter.varve", "--json"])
        #expect(roots.text.contains("\"name\":\"n\"") && roots.text.contains("\"value\":3"), "\(roots.text)")
    }

    /// Whatever is declared is there, and nothing else is.
    @Test(.enabled(if: program("nm") != nil, "needs nm: Tools/setup --test installs it")) func exports() throws {
        var declared: Set<String> = []
        let headers = root + "/Sources/CVarve/include/varve"
        for header in try FileManager.default.contentsOfDirectory(atPath: headers) {
            let text = try String(contentsOfFile: headers + "/" + header, encoding: .utf8)
            for match in text.matches(of: /\n(?:kern_return_t|int|void|const [a-z_]+ \*)\s?\*?(varve_[a-z_]+)\(/) {
                declared.insert(String(match.output.1))
            }
        }
        #expect(declared.count > 50)
        let outcome = try run(program("nm") ?? "", ["-D", "--defined-only", (buildFolder ?? "") + "/libCVarve.so"])
        var exported: Set<String> = []
        for line in outcome.text.split(separator: "\n") {
            // Small letters are symbols that the library keeps to itself.
            let words: [Substring] = line.split(separator: " ")
            if words.count == 3, words[1].first?.isUppercase == true { exported.insert(String(words[2])) }
        }
        #expect(exported == declared)
    }

    @Test(.enabled(if: program("pkg-config") != nil, "needs pkg-config: Tools/setup installs it")) func installing() throws {
        let folder = TemporaryFolder("varve-install")
        let prefix = folder.path + "/prefix"
        let install = root + "/Tools/install"
        for _ in 0..<2 {
            let outcome = try run(install, ["--built", buildFolder ?? "", prefix])
            try #require(outcome.code == 0, "\(outcome.text)")
        }
        let pkgConfig = ["PKG_CONFIG_PATH": prefix + "/lib/pkgconfig"]
        let flags = try run(program("pkg-config") ?? "", ["--cflags", "--libs", "varve"], environment: pkgConfig)
        try #require(flags.code == 0, "\(flags.text)")

        // README.md's example, as its reader would build it.
        let example = try #require(try readmeBlock("c", with: "varve_store_create"))
        let source = folder.path + "/example.c"
        try example.write(toFile: source, atomically: true, encoding: .utf8)
        try compile(
            [source], trimmed(flags.text).flatMap { $0.split(separator: " ").map(String.init) }, to: folder.path + "/example")
        let store = folder.path + "/counters.varve"
        let outcome = try run(
            folder.path + "/example", [store], environment: ["LD_LIBRARY_PATH": prefix + "/lib"])
        #expect(outcome.code == 0 && outcome.text.contains("41"), "\(outcome.text)")
        let listed = try run(prefix + "/bin/varve", ["snapshot", "list", store])
        #expect(listed.code == 0 && listed.text.contains("first"), "\(listed.text)")

        // What others put there stays.
        try "theirs".write(toFile: prefix + "/lib/theirs", atomically: true, encoding: .utf8)
        #expect(try run(install, ["--uninstall", prefix]).code == 0)
        #expect(try FileManager.default.subpathsOfDirectory(atPath: prefix).sorted() == ["lib", "lib/theirs"])
        #expect(try run(install, ["--uninstall", prefix]).code == 1)
    }

    @Test(arguments: [[], ["relative/path"], ["--nonsense", "/p"], ["/a", "/b"], ["/with space"]])
    func installingSaysWhatItCantDo(_ arguments: [String]) throws {
        let outcome = try run(root + "/Tools/install", arguments)
        #expect(outcome.code == 64 && outcome.text.hasPrefix("install: "))
    }
}
