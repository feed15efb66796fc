internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

/// What has memory that a forked child inherits, or descriptors that it must not keep.
public protocol ForkParticipant: AnyObject, Sendable {
    /// Takes its locks, so that nothing is half done in the child, and says what the child gets.
    func prepareFork(_ plan: ForkPlan)
    /// The fork is made, or has failed: gives the locks up. Called in the parent only.
    func forkIsOver()
}

/// Runs participants around each fork of the process.
///
/// vfork and posix_spawn run no handlers, and cost nothing here. In a child nothing is done but the plan's steps: locks
/// that were taken stay taken, and the participants that there were live as long as the child.
public enum ForkHooks {
    private struct Entry { weak var participant: (any ForkParticipant)? }

    /// Held from the preparation until the fork is over.
    private static let lock = Mutex(())
    /// Guarded by `lock`, like what follows.
    nonisolated(unsafe) private static var entries: [Entry] = []
    nonisolated(unsafe) private static var plan: ForkPlan?
    nonisolated(unsafe) private static var prepared: [any ForkParticipant] = []

    private static let isInstalled: Bool = {
        _ = ForkedChild.generation
        return hm_at_fork({ ForkHooks.prepare() }, { ForkHooks.finish() }, { ForkedChild.begin() }) == 0
    }()

    /// From now on `participant` takes part in each fork of the process, as long as it lives.
    ///
    /// Does nothing in a forked child: its own children get what it had from its parent, and nothing that came since.
    /// - Throws: `.full` where the host can't register handlers.
    public static func add(_ participant: any ForkParticipant) throws(StoreError) {
        guard !ForkedChild.isCurrent else { return }
        guard isInstalled else { throw StoreError(.full, "No handlers of forks can be registered", errno: ENOMEM) }
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        entries.removeAll { $0.participant == nil }
        entries.append(Entry(participant: participant))
    }

    private static func prepare() {
        guard !ForkedChild.isCurrent else { return }
        lock._unsafeLock()
        prepared = entries.compactMap(\.participant)
        guard !prepared.isEmpty else { return }
        let made = ForkPlan()
        for participant in prepared { participant.prepareFork(made) }
        made.arm()
        plan = made
    }

    private static func finish() {
        guard !ForkedChild.isCurrent else { return }
        plan?.undo()
        plan = nil
        for participant in prepared.reversed() { participant.forkIsOver() }
        prepared = []
        lock._unsafeUnlock()
    }
}
