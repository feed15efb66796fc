import Foundation

/// How to start an engine: an executable and the arguments before `DIR OBJECT_BYTES SEED`.
struct EngineLaunch: Sendable {
    let name: String
    let executable: String
    let arguments: [String]
}

/// Every engine there is, in the order of the report, and where each is found.
enum EngineCatalog {
    static let names = [
        "pwrite", "msync", "lmdb", "sqlite", "rocksdb", "pmemobj", "varve", "varve-declared", "log",
    ]

    /// The engine that the ratios are relative to.
    static let reference = "pwrite"

    /// How to start `name`, or nil where it has been neither built as a peer nor registered. Our engines store `bytes` bytes to
    /// each page, the peers all of it.
    static func launch(_ name: String, peers: String?, bytes: Int = 4096) -> EngineLaunch? {
        if SwiftEngines.all[name] != nil {
            return EngineLaunch(name: name, executable: "/proc/self/exe", arguments: ["engine", "--bytes", "\(bytes)", name])
        }
        guard let path = peers.map({ "\($0)/\(name)" }), FileManager.default.isExecutableFile(atPath: path) else {
            return nil
        }
        return EngineLaunch(name: name, executable: path, arguments: [])
    }
}
