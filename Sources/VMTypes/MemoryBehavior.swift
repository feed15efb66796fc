/// How a program expects to use a range (`vm_behavior_t`), with Mach's numbers.
///
/// Mach's `VM_BEHAVIOR_ZERO_WIRED_PAGES` (7), `REUSABLE` (8), `REUSE` (9) and `CAN_REUSE` (10) speak of
/// Mach's own page queues and are not offered: `MemoryBehavior(rawValue:)` is nil for them, as for every
/// unknown number, and the call is INVALID_ARGUMENT.
public enum MemoryBehavior: Int32, Hashable, Sendable, CaseIterable {
    /// No expectation (`VM_BEHAVIOR_DEFAULT`).
    case `default` = 0
    /// Accesses come in no order (`VM_BEHAVIOR_RANDOM`).
    case random = 1
    /// Accesses come in ascending order (`VM_BEHAVIOR_SEQUENTIAL`).
    case sequential = 2
    /// Accesses come in descending order (`VM_BEHAVIOR_RSEQNTL`).
    case reverseSequential = 3
    /// The range is needed soon (`VM_BEHAVIOR_WILLNEED`).
    case willNeed = 4
    /// The range is not needed soon; its bytes stay (`VM_BEHAVIOR_DONTNEED`).
    case dontNeed = 5
    /// The contents are of no more use: the range is filled with zeros (`VM_BEHAVIOR_FREE`).
    case free = 6
    /// The pages are given back to the store now; their bytes stay (`VM_BEHAVIOR_PAGEOUT`).
    case pageOut = 11
    /// The range is filled with zeros (`VM_BEHAVIOR_ZERO`).
    case zero = 12

    /// True where the behaviour replaces the range's contents, which needs the right to write.
    public var changesBytes: Bool { self == .free || self == .zero }
}
