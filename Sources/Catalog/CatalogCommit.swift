public import VMTypes

/// What one commit tells the catalog: its line in the log, and its changes in the order they are made.
public struct CatalogCommit: Hashable, Sendable {
    /// The version that the commit made.
    public var version: Version
    /// When, in seconds since 1970.
    public var time: Double
    /// What its maker said about it.
    public var message: String
    /// Pages it changed.
    public var pages: Int
    /// Bytes it wrote.
    public var bytes: Int
    /// What it changed in the catalog.
    public var changes: [CatalogChange]

    /// The commit that made `version`.
    public init(
        version: Version, time: Double, message: String = "", pages: Int = 0, bytes: Int = 0,
        changes: [CatalogChange] = []
    ) {
        self.version = version
        self.time = time
        self.message = message
        self.pages = pages
        self.bytes = bytes
        self.changes = changes
    }
}
