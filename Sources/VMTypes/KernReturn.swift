/// The result codes of the vm_* calls (`kern_return_t`), with Mach's numbers.
public struct KernReturn: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// The call did what it was asked.
    public static let success = KernReturn(rawValue: 0)
    /// The address is not in the task's map, or not within its bounds.
    public static let invalidAddress = KernReturn(rawValue: 1)
    /// The access exceeds what the region, the object's port or the memory entry permits.
    public static let protectionFailure = KernReturn(rawValue: 2)
    /// No gap of that size (and alignment), or the place is taken.
    public static let noSpace = KernReturn(rawValue: 3)
    /// An argument is malformed.
    public static let invalidArgument = KernReturn(rawValue: 4)
    /// The call failed for a reason without a code of its own.
    public static let failure = KernReturn(rawValue: 5)
    /// The host lacks memory, disk, descriptors or mappings, or the object is busy as it is used now.
    public static let resourceShortage = KernReturn(rawValue: 6)
    public static let noAccess = KernReturn(rawValue: 8)
    /// The object was destroyed; permanent.
    public static let memoryFailure = KernReturn(rawValue: 9)
    /// The manager could not give the page; may be transient.
    public static let memoryError = KernReturn(rawValue: 10)
    public static let nameExists = KernReturn(rawValue: 13)
    public static let invalidName = KernReturn(rawValue: 15)
    public static let invalidTask = KernReturn(rawValue: 16)
    public static let invalidRight = KernReturn(rawValue: 17)
    public static let invalidValue = KernReturn(rawValue: 18)
    public static let invalidCapability = KernReturn(rawValue: 20)
    /// The object is dead, or the port names no memory object.
    public static let invalidObject = KernReturn(rawValue: 29)
    /// The task was terminated.
    public static let terminated = KernReturn(rawValue: 37)
    public static let notSupported = KernReturn(rawValue: 46)
    public static let operationTimedOut = KernReturn(rawValue: 49)

    private static let names: [Int32: String] = [
        0: "SUCCESS", 1: "INVALID_ADDRESS", 2: "PROTECTION_FAILURE", 3: "NO_SPACE", 4: "INVALID_ARGUMENT",
        5: "FAILURE", 6: "RESOURCE_SHORTAGE", 8: "NO_ACCESS", 9: "MEMORY_FAILURE", 10: "MEMORY_ERROR",
        13: "NAME_EXISTS", 15: "INVALID_NAME", 16: "INVALID_TASK", 17: "INVALID_RIGHT", 18: "INVALID_VALUE",
        20: "INVALID_CAPABILITY", 29: "INVALID_OBJECT", 37: "TERMINATED", 46: "NOT_SUPPORTED",
        49: "OPERATION_TIMED_OUT",
    ]

    public var description: String { Self.names[rawValue] ?? "KERN_RETURN(\(rawValue))" }
}

/// A vm_* call that did not succeed: its code, and what a person needs to mend it.
public struct VMError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What the C interface returns.
    public let code: KernReturn
    /// What failed and why, with the address range and object it concerns.
    public let message: String

    public init(_ code: KernReturn, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(code): \(message)" }
}
