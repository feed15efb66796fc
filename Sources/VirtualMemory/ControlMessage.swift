internal import PageStore
internal import VMTypes

/// What a process asks of a store's writer over the control socket: one line of JSON.
struct ControlRequest: Codable, Sendable {
    enum Kind: String, Codable, Sendable {
        case settle, createSnapshot, deleteSnapshot, renameSnapshot, reclaim, optimize, retain, backup
        /// The connection stays: what follows are lines of `AttachmentRequest`.
        case attach
    }

    var kind: Kind
    var name: String?
    var newName: String?
    var object: String?
    var message: String?
    var dryRun: Bool?
    var versions: UInt32?
    var seconds: UInt32?

    init(_ kind: Kind) { self.kind = kind }
}

/// The writer's answer, or its error: one line of JSON.
struct ControlResponse: Codable, Sendable {
    var version: UInt64?
    var error: Failure?
    var layersDropped: Int?
    var layersMerged: Int?
    var bytesFreed: Int?
    var bytesRewritten: Int?
    var bytesPinned: Int?

    struct Failure: Codable, Sendable {
        var code: String
        var message: String
        var advice: String
        var path: String?
        var errno: Int32?
    }

    init() {}

    init(_ error: StoreError) {
        self.error = Failure(
            code: error.code.rawValue, message: error.message, advice: error.advice, path: error.path, errno: error.errno)
    }

    init(_ report: ReclaimReport) {
        layersDropped = report.layersDropped
        layersMerged = report.layersMerged
        bytesFreed = report.bytesFreed
        bytesRewritten = report.bytesRewritten
        bytesPinned = report.bytesPinned
    }

    var reclaimed: ReclaimReport? {
        guard let layersDropped else { return nil }
        var report = ReclaimReport()
        report.layersDropped = layersDropped
        report.layersMerged = layersMerged ?? 0
        report.bytesFreed = bytesFreed ?? 0
        report.bytesRewritten = bytesRewritten ?? 0
        report.bytesPinned = bytesPinned ?? 0
        return report
    }
}
