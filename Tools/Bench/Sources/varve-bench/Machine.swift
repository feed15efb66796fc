import Foundation

/// What a measurement was made on.
struct Machine: Encodable {
    let kernel: String
    let processors: Int
    /// Kept busy by others before the benchmark began.
    let busyProcessors: Double?
    let fileSystem: String
    let source: String
    let date: String

    init(volume: Volume) {
        var name = utsname()
        uname(&name)
        kernel = withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        processors = ProcessInfo.processInfo.activeProcessorCount
        busyProcessors = Load.busyProcessors()
        fileSystem = volume.fileSystem
        source = volume.source
        date = Date.now.formatted(.iso8601)
    }
}
