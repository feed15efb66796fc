internal import VMTypes

/// A page table's private pages in the shadow file.
///
/// Good as long as none of them is stored to or replaced: the mapping compares `lastStored`, and drops it when it replaces.
struct TableCopy {
    let lastStored: UInt32
    /// Nothing is private: what lies beneath is mapped anew, and nothing was copied.
    let staysBeneath: Bool
    let copiedPages: Int
    /// The disk is known to have what was copied.
    var isSettled = false
}

/// One of the kernel's page tables of a mapping, with private pages.
public struct ColdTable: Sendable {
    /// Its number in the mapping.
    public var number: Int
    /// Looks for stores since the last that found one.
    public var age: Int
    /// Private pages.
    public var heldPages: Int
}
