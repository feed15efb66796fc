internal import Synchronization

/// Whether this process is a forked child of one that used a store.
///
/// Such a child has other threads' locks as they were, and descriptors whose locks and offsets are its parent's: it makes
/// no call into a store that it inherited.
public enum ForkedChild {
    private static let forks = Atomic<Int>(0)

    /// How many forks lie between this process and the one that first used a store.
    public static var generation: Int { forks.load(ordering: .relaxed) }

    public static var isCurrent: Bool { generation != 0 }

    /// Called in a forked child, before anything else runs there.
    public static func begin() { forks.add(1, ordering: .relaxed) }

    /// What every call into an inherited store throws.
    public static var refusal: StoreError {
        StoreError(
            .wrongState, "the store belongs to the process that opened it, of which this is a forked child",
            advice: "Use its memory only; or attach with RemoteStore.connect")
    }

    /// Throws `refusal` in a forked child.
    public static func refuse() throws(StoreError) { if isCurrent { throw refusal } }
}
