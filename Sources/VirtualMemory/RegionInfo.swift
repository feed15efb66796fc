internal import HostMemory
public import VMTypes

/// A region of a task's map, and how much of it is in memory (vm_region).
public struct RegionInfo: Hashable, Sendable {
    /// The first address.
    public var start: UInt64
    /// One past the last address.
    public var end: UInt64
    /// What accesses are allowed now.
    public var current: Protection
    /// What `current` may be raised to.
    public var maximum: Protection
    /// What a child receives.
    public var inheritance: Inheritance
    /// Whether something else shows the same memory: another region, in whatever task, or a memory entry.
    public var isShared: Bool
    /// The object behind it.
    public var object: ObjectID?
    /// Bytes into the object, at `start`.
    public var offset: UInt64
    /// Whether it was made by copying.
    public var isCopied: Bool
    /// How many times it is wired.
    public var wiredCount: Int
    /// Pages in memory.
    public var residentPages: Int
    /// Pages that differ from the last commit, or may.
    public var dirtyPages: Int
    /// Pages that the host has swapped out.
    public var swappedPages: Int

    /// Bytes.
    public var size: UInt64 { end - start }
}

/// What is known of one page of a task (vm_map_page_query).
public struct PageDisposition: OptionSet, Hashable, Sendable {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// It is in memory (`VM_PAGE_QUERY_PAGE_PRESENT`).
    public static let present = PageDisposition(rawValue: 0x1)
    /// It was stored to since the last commit (`VM_PAGE_QUERY_PAGE_DIRTY`).
    public static let dirty = PageDisposition(rawValue: 0x8)
    /// It is not in memory, and the store or the host's swap has it (`VM_PAGE_QUERY_PAGE_PAGED_OUT`).
    public static let pagedOut = PageDisposition(rawValue: 0x10)
    /// Its region was made by copying (`VM_PAGE_QUERY_PAGE_COPIED`).
    public static let copied = PageDisposition(rawValue: 0x20)
}
