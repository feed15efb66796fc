public import VMTypes

/// How much memory of exclusive objects stays private to the process.
///
/// What is stored to becomes private memory. Private memory that nobody stores to any more can be *traded*: its bytes go to a
/// file of the process's own, without a name, in the store's folder, from which the kernel reads them when they are touched,
/// and whose pages in memory are the kernel's to give to others. No byte changes.
///
/// Trading needs threads that store to exclusive memory to be quiet, where stores are tracked by `asyncWriteProtect`: whoever
/// sets anything here sees to it that no thread, system call or device stores to exclusive memory while the program's own
/// `Store.commit`, a heap's `commit` or `transaction`, or `Store.trim` runs. What heaps do by their own calls is held off by them.
/// Commits that come otherwise trade nothing: those of attached processes, of `vm_msync`, and of making a heap.
public struct ResidencyPolicy: Sendable, Equatable {
    /// Bytes of private memory that exclusive objects may have together after a commit of the program's; nil for no limit.
    ///
    /// Between two commits it may be more, by what is stored to and filled in. The longest unused goes first.
    public var limit: UInt64?
    /// Trades what was not stored to for many commits, so that what an undeclared commit costs follows the pages in use and
    /// not the memory ever stored to. Without a limit it goes to memory that is not looked at, not to the disk.
    public var tradesCold: Bool

    public init(limit: UInt64? = nil, tradesCold: Bool = false) {
        self.limit = limit
        self.tradesCold = tradesCold
    }

    /// Nothing is traded but by `Store.trim`.
    public static let keepsAll = ResidencyPolicy()

    var isActive: Bool { limit != nil || tradesCold }
}

/// What exclusive objects take.
public struct PrivateMemory: Sendable {
    /// Bytes of private memory, at most.
    public var bytes: UInt64
    /// Why trading failed last; nil where it did not.
    public var failure: StoreError?
}
