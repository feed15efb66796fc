public import VMTypes

/// A memory object as the catalog knows it at one version.
public struct CatalogObject: Hashable, Sendable {
    /// Its number, never used for another.
    public var id: ObjectID
    /// Its name, if it has one.
    public var name: String?
    /// Its size in bytes.
    public var size: UInt64
    /// Where its pages live while mapped; the caller's code.
    public var residency: UInt8
    /// The version whose commit made this state of it.
    public var since: Version

    /// A state of the object `id`.
    public init(id: ObjectID, name: String?, size: UInt64, residency: UInt8, since: Version) {
        self.id = id
        self.name = name
        self.size = size
        self.residency = residency
        self.since = since
    }
}
