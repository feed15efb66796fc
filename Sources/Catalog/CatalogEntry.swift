public import VMTypes

/// One entry of a task's address map: a range of addresses and what they show.
public struct CatalogEntry: Hashable, Sendable {
    /// The task whose map holds it.
    public var task: TaskID
    /// The first address; page-aligned.
    public var start: UInt64
    /// One past the last address; page-aligned.
    public var end: UInt64
    /// The object that is mapped, or nil where none was needed yet.
    public var object: ObjectID?
    /// Bytes into the object at which the range begins.
    public var offset: UInt64
    /// What accesses are allowed now.
    public var current: Protection
    /// What accesses may ever be allowed.
    public var maximum: Protection
    /// What a child task receives.
    public var inheritance: Inheritance
    /// True where the object is a private copy of another.
    public var copied: Bool

    /// An entry of `task` for the addresses `start ..< end`.
    public init(
        task: TaskID, start: UInt64, end: UInt64, object: ObjectID? = nil, offset: UInt64 = 0,
        current: Protection = .default, maximum: Protection = .all, inheritance: Inheritance = .copy,
        copied: Bool = false
    ) {
        self.task = task
        self.start = start
        self.end = end
        self.object = object
        self.offset = offset
        self.current = current
        self.maximum = maximum
        self.inheritance = inheritance
        self.copied = copied
    }
}
