public import VMTypes

/// A name for a version, of the whole store or of one object.
public struct CatalogSnapshot: Hashable, Sendable {
    /// Its name; one snapshot a name.
    public var name: String
    /// The version that it names.
    public var version: Version
    /// The object it is of, or nil for the whole store.
    public var object: ObjectID?
    /// What its maker said about it.
    public var message: String
    /// When it was made, in seconds since 1970: the time of the commit that carried it.
    public var time: Double

    /// A snapshot of `version`.
    public init(name: String, version: Version, object: ObjectID?, message: String, time: Double) {
        self.name = name
        self.version = version
        self.object = object
        self.message = message
        self.time = time
    }
}
