public import VMTypes

/// A persistent task as the catalog knows it at one version.
public struct CatalogTask: Hashable, Sendable {
    /// Its number, never used for another.
    public var id: TaskID
    /// Its name.
    public var name: String
    /// The first address of its window.
    public var windowBase: UInt64
    /// Bytes in its window.
    public var windowSize: UInt64
    /// The version whose commit made this state of it.
    public var since: Version

    /// A state of the task `id`.
    public init(id: TaskID, name: String, windowBase: UInt64, windowSize: UInt64, since: Version) {
        self.id = id
        self.name = name
        self.windowBase = windowBase
        self.windowSize = windowSize
        self.since = since
    }
}
