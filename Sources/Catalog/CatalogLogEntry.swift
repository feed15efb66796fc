public import VMTypes

/// One commit as the log shows it.
public struct CatalogLogEntry: Hashable, Sendable {
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
    /// What it changed besides pages.
    public var kinds: CatalogChangeKinds

    /// The log's line for `version`.
    public init(version: Version, time: Double, message: String, pages: Int, bytes: Int, kinds: CatalogChangeKinds) {
        self.version = version
        self.time = time
        self.message = message
        self.pages = pages
        self.bytes = bytes
        self.kinds = kinds
    }
}
