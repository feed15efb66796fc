internal import VMTypes

/// A page table's pages on their way to the shadow file.
///
/// Good as long as none of them is stored to or replaced: the mapping compares `lastStored`, and drops it when it replaces.
struct TableCopy {
    let table: Int
    let home: ShadowHome
    let lastStored: UInt32
    /// Nothing is private: what lies beneath is mapped anew, and nothing is copied.
    let staysBeneath: Bool
    /// Runs still to copy: from memory, or where they are absent there, from the provider.
    var left: [PageRange]
    /// Something was copied, and is not known to be on the disk.
    var isUnsettled = false
}

/// A page table's pages that nobody has stored to for a while.
public struct ColdTable: Sendable {
    /// Its number in the mapping.
    public var number: Int
    /// Looks for stores since the last that found one.
    public var age: Int
    /// Private pages, at most.
    public var heldPages: Int
}
