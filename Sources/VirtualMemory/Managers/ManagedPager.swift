internal import HostMemory
internal import VMTypes

/// Answers for the pages of an object from its manager: the bridge between the faults of a mapping and the manager's calls.
///
/// Its lock is held for moments only, never while the manager is called or waited for.
final class ManagedPager: WaitingPageProvider {
    /// 1. starting → ready: the manager has initialized.
    /// 2. starting → ended: it threw.
    /// 3. starting, ready → ended: terminated, destroyed, or its thread exited.
    enum Life {
        case starting
        case ready
        case ended(Ending)
    }

    struct Ending {
        var reason: String
        /// Destroyed: what is in memory is gone too.
        var isDestroyed = false
    }

    /// What is to be told to the manager, in order.
    enum Call {
        case initialize
        case request(PendingRequest)
        case take(PendingReturn)
        case terminate
    }

    struct State {
        var life = Life.starting
        var attributes: ManagerAttributes
        /// Nil once it was told the last call, or is gone.
        var manager: (any MemoryManager)?
        var calls: [Call] = [.initialize]
        /// Whether a thread is making the calls.
        var isCalling = false
        /// Asked for and not answered; no two overlap, but for forgotten ones.
        var requests: [PendingRequest] = []
        /// Told or to be told, and not answered.
        var returns: [PendingReturn] = []
        /// Pages of commits that the manager has not taken: they are answered from here.
        var unreturned: [Int: PageBytes] = [:]
        /// Why pages could not be had.
        var faults: [Int: MemoryFault] = [:]
        /// Pages that are to be asked for anew, where nothing fills on demand.
        var stale: [PageRange] = []
    }

    let store: Store
    let id: ObjectID
    let size: UInt64
    /// When the manager must have initialized, as `seconds()` counts.
    private let startDeadline: Double
    let state: ManagerMonitor<State>
    let fileDescriptor: Int32 = -1

    init(store: Store, id: ObjectID, size: UInt64, manager: any MemoryManager, attributes: ManagerAttributes) {
        self.store = store
        self.id = id
        self.size = size
        startDeadline = seconds() + attributes.deadline
        state = ManagerMonitor(State(attributes: attributes, manager: manager))
    }

    // MARK: What a mapping asks

    var clusterPages: Int { state.withLock { $0.attributes.clusterPages } }

    func runs(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)] {
        let end = max(range.start, min(range.end, max(1, Page.count(forBytes: Int(size)))))
        return [
            (PageRange(start: range.start, count: end - range.start), RunKind.fill),
            (PageRange(start: end, count: range.end - end), RunKind.beyondEnd),
        ].filter { !$0.pages.isEmpty }
    }

    /// Refused: whoever needs pages under a lock brings them before.
    func fill(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
        throw StoreError(
            .busy, "\(range) of object \(id) went out of memory meanwhile, and their manager must be asked", advice: "Try again")
    }

    func runApart(_ work: @escaping @Sendable () -> Void) throws(StoreError) { try ManagerThreads.run(work) }

    // MARK: Life

    /// Why the object can't be mapped any more; nil while it can, or may.
    var ending: Ending? {
        state.withLock { state in if case .ended(let ending) = state.life { ending } else { nil } }
    }

    var isReady: Bool { state.withLock { state in if case .ready = state.life { true } else { false } } }

    /// Waits until the manager has initialized or the object has ended; false where neither happened in time.
    func waitUntilStarted() -> Bool {
        state.wait(until: startDeadline) { state in if case .starting = state.life { nil } else { true } } ?? false
    }

    /// Why pages were not had.
    func fault(_ page: Int, _ reason: String, _ code: KernReturn = .memoryError) -> MemoryFault {
        MemoryFault(object: id, offset: UInt64(page) << UInt64(Page.shift), code: code, reason: reason)
    }

    /// Why the page could not be had when it was asked for last; nil where it could.
    func lastFault(_ page: Int) -> MemoryFault? {
        state.withLock { state in
            if case .ended(let ending) = state.life, ending.isDestroyed { return fault(page, ending.reason, .memoryFailure) }
            return state.faults[page]
        }
    }

    /// Ends the object: what is asked for has failed. The manager is told what commits took, unless it is destroyed, and then
    /// the end: after its beginning, where it has not been told that yet. Not so where it did not initialize or its thread is
    /// gone.
    func end(_ ending: Ending, isManagerGone: Bool = false) {
        // A manager that is let go of may call back: not under the lock.
        let gone: (any MemoryManager)? = state.change { state in
            var returnsCommitted = false
            if case .ended(let known) = state.life {
                if ending.isDestroyed, !known.isDestroyed {
                    state.life = .ended(ending)
                    state.unreturned = [:]
                }
                guard isManagerGone else { return nil }
            } else {
                if case .ready = state.life { returnsCommitted = !isManagerGone && !ending.isDestroyed }
                state.life = .ended(ending)
            }
            for request in state.requests { request.answer = .failed(ending.reason) }
            state.requests = []
            state.calls.removeAll { call in
                switch call {
                case .initialize: isManagerGone
                case .request: true
                case .take: !returnsCommitted
                case .terminate: isManagerGone
                }
            }
            if !returnsCommitted {
                for pending in state.returns { pending.outcome = .refused(ending.reason) }
                state.returns = []
            }
            if ending.isDestroyed { state.unreturned = [:] }
            guard isManagerGone else {
                state.calls.append(.terminate)
                return nil
            }
            defer { state.manager = nil }
            return state.manager
        }
        withExtendedLifetime(gone) { kick() }
    }

    func change(_ attributes: ManagerAttributes) { state.withLock { $0.attributes = attributes } }
}

extension MemoryFault {
    var storeError: StoreError {
        StoreError(.io, description, advice: code == .memoryFailure ? "" : "Try again, or see to the manager")
    }
}
