import Foundation
import Testing

/// What the whole source tree keeps to, checked on its text.
@Suite struct HouseRulesTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The modules of ours that each may import: arrows point down only.
    private static let allowed: [String: Set<String>] = [
        "CLMDB": [], "CXXHash": [], "CHostMemory": [], "CCatalog": [], "CPersistentHeap": [], "CVarveHeader": [], "Migrations": [],
        "VMTypes": [],
        "AddressMap": ["VMTypes"],
        "HostMemory": ["VMTypes", "CHostMemory"],
        "PageStore": ["VMTypes", "CLMDB", "CXXHash"],
        "Catalog": ["VMTypes", "Migrations", "CCatalog"],
        "VirtualMemory": ["VMTypes", "AddressMap", "HostMemory", "PageStore", "Catalog"],
        "PersistentHeap": ["VMTypes", "VirtualMemory", "CPersistentHeap"],
        "Varve": ["VMTypes", "AddressMap", "HostMemory", "PageStore", "VirtualMemory", "PersistentHeap"],
        "CVarve": ["Varve", "CVarveHeader"],
        "CCrashRecorder": [], "CCrashRecorderHeader": [], "CCrashAdapters": [],
        "CrashLab": ["CCrashRecorderHeader"],
        "VarveCommands": ["Varve", "CrashLab", "CCrashAdapters"],
        "varve": ["VarveCommands"],
    ]

    /// What exactly one module knows.
    private static let owners = [
        "CLMDB": "PageStore", "CXXHash": "PageStore", "GRDB": "Catalog", "Migrations": "Catalog", "CCatalog": "Catalog", "CCrashRecorderHeader": "CrashLab",
        "CCrashAdapters": "VarveCommands",
        "ArgumentParser": "VarveCommands",
    ]

    private static let longestFile = 500

    private struct Source {
        let module: String
        let path: String
        let lines: [Substring]

        /// The names of the modules that the file imports.
        var imports: [String] {
            lines.compactMap { line in
                let words = line.split(separator: " ")
                guard let index = words.firstIndex(of: "import"), index + 1 < words.count, line.first != " ",
                    words[..<index].allSatisfy({ $0.hasPrefix("@") || ["public", "internal", "package", "private", "fileprivate"].contains($0) })
                else { return nil }
                return String(words.last!.prefix { $0 != "." })
            }
        }
    }

    private static func sources() throws -> [Source] {
        var found: [Source] = []
        let folder = root.appendingPathComponent("Sources").path
        for path in FileManager.default.enumerator(atPath: folder)?.compactMap({ $0 as? String }) ?? []
        where path.hasSuffix(".swift") || path.hasSuffix(".c") || path.hasSuffix(".h") {
            let text = try String(contentsOfFile: folder + "/" + path, encoding: .utf8)
            found.append(
                Source(
                    module: String(path.prefix { $0 != "/" }), path: path,
                    lines: text.split(separator: "\n", omittingEmptySubsequences: false)))
        }
        #expect(found.count > 50)
        return found
    }

    @Test func arrowsBetweenModulesPointDown() throws {
        for source in try Self.sources() {
            guard let allowed = Self.allowed[source.module] else {
                Issue.record("\(source.module) has no place among the modules yet: give it one here and in docs/ARCHITECTURE.md")
                continue
            }
            for name in source.imports where Self.allowed[name] != nil {
                #expect(allowed.contains(name), "\(source.path) imports \(name)")
            }
        }
    }

    @Test func eachOutsideLibraryIsKnownToOneModule() throws {
        var importers: [String: Set<String>] = [:]
        for source in try Self.sources() { for name in source.imports { importers[name, default: []].insert(source.module) } }
        for (library, owner) in Self.owners {
            #expect(importers[library, default: []].isSubset(of: [owner]), "\(library) is imported by \(importers[library] ?? [])")
        }
        #expect(importers["CLMDB"] == ["PageStore"] && importers["GRDB"] == ["Catalog"])
    }

    @Test func filesAreShort() throws {
        let lengths = try Self.sources().map { (count: $0.lines.count - 1, path: $0.path) }.sorted { $0.count > $1.count }
        print("longest files:", lengths.prefix(5).map { "\($0.path) \($0.count)" }.joined(separator: ", "))
        for file in lengths where file.count > Self.longestFile {
            Issue.record("\(file.path) has \(file.count) lines, more than \(Self.longestFile)")
        }
    }

    /// A write transaction of LMDB that ends on another thread keeps its lock for ever.
    @Test func thePageStoreNeverSuspends() throws {
        for source in try Self.sources() where source.module == "PageStore" {
            for (number, line) in source.lines.enumerated() {
                let code = line.components(separatedBy: "//")[0]
                let words = code.split { !$0.isLetter }
                #expect(!words.contains("await") && !words.contains("async"), "\(source.path):\(number + 1)")
            }
        }
    }

    @Test func migrationsAreNumberedInOrder() throws {
        let folder = Self.root.appendingPathComponent("Migrations")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent("SQL").path).sorted()
        #expect(!files.isEmpty)
        let list = try String(contentsOf: folder.appendingPathComponent("Migrations.swift"), encoding: .utf8)
        var last = list.startIndex
        for (index, file) in files.enumerated() {
            let digits = String(index + 1)
            let prefix = "V" + String(repeating: "0", count: 4 - digits.count) + digits + "_"
            #expect(file.hasPrefix(prefix) && file.hasSuffix(".sql"), "\(file) should begin with \(prefix)")
            let place = try #require(list.range(of: "(\"\(file.dropLast(4))\""), "\(file) is not in Migrations.swift")
            #expect(place.lowerBound > last, "\(file) is out of order in Migrations.swift")
            last = place.lowerBound
        }
        #expect(list.components(separatedBy: "PackageResources.").count - 1 == files.count)
    }
}
