internal import Synchronization
public import VMTypes

/// How much memory of exclusive objects stays private to the process.
///
/// What is stored to becomes private memory. Private memory that is committed, and that nobody stores to, can be *traded*: its
/// bytes go to a file of the process's own, without a name, in the store's folder, from which the kernel reads them when they
/// are touched, and whose pages in memory are the kernel's to give to others. No byte changes. The file takes up to the
/// object's size on the disk, until the object is unmapped, and once more for each forked child that still maps a part of it.
///
/// Trading needs threads that store to exclusive memory to be quiet, where stores are tracked by `asyncWriteProtect`: whoever
/// sets a limit sees to it that no thread, system call or device stores to exclusive memory while the program's own
/// `Store.commit`, a heap's `commit` or `transaction`, or `Store.trim` runs; such a store may be lost. What heaps do by their own
/// calls is held off by them. Commits that come otherwise trade nothing: those of attached processes, of `vm_msync`, and of
/// making a heap.
public struct ResidencyPolicy: Sendable, Equatable {
    /// Bytes of private memory that exclusive objects may have together after a commit of the program's; nil for no limit.
    ///
    /// Between two commits it may be more, by what is stored to and filled in. The longest unused goes first.
    public var limit: UInt64?

    public init(limit: UInt64? = nil) { self.limit = limit }

    /// Nothing is traded but by `Store.trim`.
    public static let keepsAll = ResidencyPolicy()
}

/// What exclusive objects take.
public struct PrivateMemory: Sendable {
    /// Bytes of private memory, at most: what is stored to again and again is counted again, until there would be more than the
    /// limit.
    public var bytes: UInt64
    /// Why keeping the limit failed last; nil where it did not.
    public var failure: StoreError?
}

/// The limit that commits keep, and whether it could be kept.
final class ResidencyKeeper: Sendable {
    /// `UInt64.max` for none.
    private let limit: Atomic<UInt64>
    private let attempts = Mutex<(failure: StoreError?, pause: Int)>((nil, 0))
    /// Commits to come, after a failure that stops all, before it is tried again: the disk may have room some time.
    private static let failurePause = 1_000

    init(_ policy: ResidencyPolicy) { limit = Atomic(policy.limit ?? .max) }

    var policy: ResidencyPolicy {
        get {
            let bytes = limit.load(ordering: .relaxed)
            return ResidencyPolicy(limit: bytes == .max ? nil : bytes)
        }
        set {
            attempts.withLock { $0.pause = 0 }
            limit.store(newValue.limit ?? .max, ordering: .relaxed)
        }
    }

    var failure: StoreError? { attempts.withLock { $0.failure } }

    /// Keeps the limit by `body`, which returns why a part of memory could not be given back and throws where nothing more can be.
    func keep(_ body: () throws(StoreError) -> StoreError?) {
        let mayTry = attempts.withLock { attempts in
            attempts.pause -= 1
            return attempts.pause < 0
        }
        guard mayTry else { return }
        do throws(StoreError) {
            let failure = try body()
            attempts.withLock { $0 = (failure, 0) }
        } catch {
            attempts.withLock { $0 = (error, Self.failurePause) }
        }
    }
}
