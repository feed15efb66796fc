internal import PageStore
internal import VMTypes

/// What an attached process asks of the one that serves the store: one line of JSON.
struct AttachmentRequest: Codable, Sendable {
    enum Kind: String, Codable, Sendable {
        /// A port to the object `name`. The answer brings a descriptor.
        case object
        /// Gives `port` back. It has no answer.
        case release
        case commit, createSnapshot
        /// Of a program that was started with a task: the regions from number `first` on, as many as an answer holds.
        case inherit
        /// Of such a program: the memory file of number `file`. The answer brings a descriptor.
        case file
    }

    var kind: Kind
    var name: String?
    var writes: Bool?
    var port: UInt64?
    var message: String?
    var isDeferred: Bool?
    var first: Int?
    var file: Int?

    init(_ kind: Kind) { self.kind = kind }
}

/// The answer to all of these but `release`: one line of JSON.
struct AttachmentResponse: Codable, Sendable {
    var error: ControlResponse.Failure?
    var version: UInt64?
    var port: UInt64?
    var object: UInt64?
    /// Bytes of the object.
    var size: UInt64?
    /// Pages of the memory file that came with the answer.
    var pages: Int?
    /// Whether that can be written.
    var writes: Bool?
    /// The store's folder, the window, the regions and how many there are in all.
    var path: String?
    var windowBase: UInt64?
    var windowSize: UInt64?
    var regions: [InheritedRegion]?
    var regionCount: Int?

    init() {}

    init(_ error: StoreError) { self.error = ControlResponse(error).error }
}
