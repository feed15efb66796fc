/// What accesses a mapping allows (`vm_prot_t`).
public struct Protection: OptionSet, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    public static let none: Protection = []
    public static let read = Protection(rawValue: 1)
    public static let write = Protection(rawValue: 2)
    public static let execute = Protection(rawValue: 4)
    /// Read and write: what `vm_map` and `vm_allocate` give where nothing else is said.
    public static let `default`: Protection = [.read, .write]
    public static let all: Protection = [.read, .write, .execute]

    /// True where no bit outside read, write and execute is set.
    public var isWellFormed: Bool { rawValue & ~Protection.all.rawValue == 0 }

    /// `rwx` with a dash for each right that is absent, as in /proc/PID/maps.
    public var description: String {
        (contains(.read) ? "r" : "-") + (contains(.write) ? "w" : "-") + (contains(.execute) ? "x" : "-")
    }
}

/// What a child task receives of a region (`vm_inherit_t`).
public enum Inheritance: Int32, Hashable, Sendable, CaseIterable {
    /// Parent and child see each other's writes.
    case share = 0
    /// The child gets the contents as they are at the call; neither sees the other's later writes.
    case copy = 1
    /// The region is absent in the child.
    case none = 2
}
