// swift-tools-version: 6.2
import PackageDescription

/// Bugs that can be planted, for the crash lab's test of itself (`Tools/mutants`); in no other build.
let mutants: [SwiftSetting] = Context.environment["VARVE_MUTANTS"] == nil ? [] : [.define("VARVE_MUTANTS")]

/// Decoders that libFuzzer watches (`Tools/crashlab fuzz`), where it names the library with libFuzzer in it; in no other build.
let fuzzer = Context.environment["VARVE_FUZZ"]
let watched: [SwiftSetting] = fuzzer == nil ? [] : [.unsafeFlags(["-sanitize=fuzzer"])]

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("ExistentialAny"),
    // Else each generic type with a constraint is found by its name when a process first needs it, which searches the
    // conformances of all libraries: 0.1 to 0.3 ms a type, a dozen of them until a store is open.
    .unsafeFlags(["-Xfrontend", "-disable-concrete-type-metadata-mangled-name-accessors"]),
] + mutants + watched

let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")

let package = Package(
    name: "varve",
    products: [
        .library(name: "Varve", targets: ["Varve"]),
        .library(name: "CVarve", type: .dynamic, targets: ["CVarve"]),
        .executable(name: "varve", targets: ["varve"]),
        .library(name: "varve-crash-recorder", type: .dynamic, targets: ["CCrashRecorder"]),
    ],
    dependencies: [
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    ],
    targets: [
        .systemLibrary(name: "CLMDB", pkgConfig: "lmdb", providers: [.apt(["liblmdb-dev"])]),
        .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
        .target(name: "CHostMemory", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]),
        .target(name: "Migrations", path: "Migrations", resources: [.embedInCode("SQL")], swiftSettings: strict),
        .target(name: "VMTypes", swiftSettings: strict),
        .target(
            name: "AddressMap",
            dependencies: ["VMTypes"],
            swiftSettings: strict),
        .target(name: "HostMemory", dependencies: ["VMTypes", "CHostMemory"], swiftSettings: strict),
        .target(
            name: "PageStore",
            dependencies: [
                "VMTypes", "CLMDB", "CXXHash", .product(name: "HashTreeCollections", package: "swift-collections"),
            ],
            swiftSettings: strict),
        // Checksums under SQLite's pages: a layer of file operations, in C as SQLite calls it.
        .target(
            name: "CCatalog", dependencies: ["CXXHash"], cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])],
            linkerSettings: [.linkedLibrary("sqlite3")]),
        .target(name: "Catalog", dependencies: ["VMTypes", "Migrations", "CCatalog", grdb], swiftSettings: strict),
        .target(
            name: "VirtualMemory",
            dependencies: ["VMTypes", "AddressMap", "HostMemory", "PageStore", "Catalog"],
            swiftSettings: strict),
        .target(name: "CPersistentHeap", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]),
        .target(name: "PersistentHeap", dependencies: ["VirtualMemory", "VMTypes", "CPersistentHeap"], swiftSettings: strict),
        .target(
            name: "Varve", dependencies: ["PersistentHeap", "VirtualMemory", "VMTypes", "AddressMap", "HostMemory", "PageStore"],
            swiftSettings: strict),
        .systemLibrary(name: "CVarveHeader", path: "Sources/CVarve/include"),
        .target(
            name: "CVarve",
            dependencies: ["Varve", "CVarveHeader"],
            exclude: ["include", "exports.map", "varve.pc.in"],
            swiftSettings: strict,
            linkerSettings: [
                .unsafeFlags(
                    [
                        "--version-script=\(Context.packageDirectory)/Sources/CVarve/exports.map", "-soname=libvarve.so.0", "-z",
                        "nodelete",
                    ].flatMap { ["-Xlinker", $0] })
            ]),
        .target(
            name: "VarveCommands",
            dependencies: ["Varve", "CrashLab", "CCrashAdapters", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            swiftSettings: strict),
        .executableTarget(name: "varve", dependencies: ["VarveCommands"], swiftSettings: strict),
        .executableTarget(name: "varve-examples", dependencies: ["Varve"], path: "Examples/Swift", swiftSettings: strict),
        // What a process does to files, recorded: loaded before the C library, never linked.
        .target(name: "CCrashRecorder", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])], linkerSettings: [.linkedLibrary("dl")]),
        .systemLibrary(name: "CCrashRecorderHeader", path: "Sources/CCrashRecorder/include"),
        // Other stores that the lab is tried on; in C, so that no module of ours knows two of them.
        .target(
            name: "CCrashAdapters", dependencies: ["CLMDB"], cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])],
            linkerSettings: [.linkedLibrary("lmdb"), .linkedLibrary("sqlite3")]),
        .target(name: "CrashLab", dependencies: ["CCrashRecorderHeader"], swiftSettings: strict),
        .target(name: "TestSupport", dependencies: ["VMTypes"], path: "Tests/TestSupport", swiftSettings: strict),
        .target(
            name: "PageStoreModel", dependencies: ["PageStore", "TestSupport", "VMTypes"], path: "Tests/PageStoreModel",
            swiftSettings: strict),
        .executableTarget(
            name: "varve-crash-child", dependencies: ["PageStore", "PageStoreModel", "TestSupport", "VMTypes"],
            path: "Tests/CrashChild", swiftSettings: strict),
        // Fuzz targets of what reads bytes that may be damaged; they see inside the modules, so that a release build has none of them.
        .target(
            name: "Decoders", dependencies: ["Varve", "VirtualMemory", "PageStore", "Catalog", "TestSupport", "VMTypes", grdb], path: "Tests/Decoders",
            swiftSettings: strict),
        .executableTarget(
            name: "varve-spawn-child", dependencies: ["Varve"], path: "Tests/SpawnChild", swiftSettings: strict),
        .testTarget(name: "VMTypesTests", dependencies: ["VMTypes"], swiftSettings: strict),
        .testTarget(name: "AddressMapTests", dependencies: ["AddressMap", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "HostMemoryTests", dependencies: ["HostMemory", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "PageStoreTests", dependencies: ["PageStore", "PageStoreModel", "TestSupport", "varve-crash-child"],
            swiftSettings: strict),
        .testTarget(
            name: "CrashLabTests",
            dependencies: ["CrashLab", "TestSupport", "varve", "varve-crash-child"], swiftSettings: strict),
        .testTarget(
            name: "DecoderTests", dependencies: ["Decoders", "TestSupport"], exclude: ["Corpus"], swiftSettings: strict),
        .testTarget(name: "CatalogTests", dependencies: ["Catalog", "TestSupport", grdb], swiftSettings: strict),
        .testTarget(
            name: "VirtualMemoryTests",
            dependencies: ["Varve", "VirtualMemory", "HostMemory", "PageStore", "Catalog", "TestSupport", "varve-spawn-child", grdb],
            swiftSettings: strict),
        .testTarget(
            name: "PersistentHeapTests", dependencies: ["Varve", "PersistentHeap", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "ExamplesTests", dependencies: ["TestSupport", "varve-examples"], swiftSettings: strict),
        .testTarget(name: "CVarveTests", dependencies: ["TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "VarveCommandsTests", dependencies: ["VarveCommands", "Varve", "PageStore", "Catalog", "TestSupport", grdb],
            swiftSettings: strict),
    ]
)

if let fuzzer {
    package.targets.append(
        .executableTarget(
            name: "varve-fuzz", dependencies: ["Decoders"], path: "Tests/Fuzz", swiftSettings: strict,
            linkerSettings: [.unsafeFlags([fuzzer, "-use-ld=lld"]), .linkedLibrary("stdc++")]))
}
