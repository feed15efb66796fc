public import VMTypes

/// One thing that `verify` found.
public struct Finding: Hashable, Sendable, CustomStringConvertible {
    public enum Severity: String, Hashable, Sendable {
        /// Bytes that something still needs are lost.
        case damage
        /// Nothing that anybody can ask for is lost.
        case warning
    }

    public var severity: Severity
    /// The file, and where in it.
    public var place: String
    public var message: String
    /// The object whose pages are concerned, where that is known.
    public var object: ObjectID?
    public var pages: PageRange?

    public init(severity: Severity, place: String, message: String, object: ObjectID? = nil, pages: PageRange? = nil) {
        self.severity = severity
        self.place = place
        self.message = message
        self.object = object
        self.pages = pages
    }

    public var description: String { "\(severity.rawValue): \(place): \(message)" }
}

/// What `verify` looked at.
public struct VerifySummary: Hashable, Sendable {
    public var objects = 0
    public var versions = 0
    public var pagesChecked = 0
    public var bytesChecked = 0
    public var journalRecords = 0
    public var findings = 0
}
