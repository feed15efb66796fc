public import VMTypes

/// A memory object as the page store knows it.
public struct ObjectInfo: Hashable, Sendable {
    public var id: ObjectID
    /// Empty where the object has no name.
    public var name: String
    /// Bytes.
    public var size: UInt64
    public var residency: Residency
    /// The first version that holds the object.
    public var born: Version
    /// The first version that no longer holds it; `.infinity` while it lives.
    public var died: Version

    public var isLive: Bool { died == .infinity }
    /// Pages, the last one possibly in part.
    public var pageCount: Int { Page.count(forBytes: Int(size)) }
}

/// A named version.
public struct SnapshotInfo: Hashable, Sendable {
    public var name: String
    public var version: Version
    /// nil for a snapshot of the whole store.
    public var object: ObjectID?
    /// Nanoseconds since 1970.
    public var time: Int64
    public var message: String

    public init(name: String, version: Version, object: ObjectID?, time: Int64, message: String) {
        self.name = name
        self.version = version
        self.object = object
        self.time = time
        self.message = message
    }
}

/// One commit as the outbox and the journal tell it.
public struct CommitInfo: Hashable, Sendable {
    public var version: Version
    /// Nanoseconds since 1970.
    public var time: Int64
    /// Pages that it changed.
    public var pages: Int
    public var operations: [StoreOperation]
}
