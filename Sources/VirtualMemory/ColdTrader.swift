internal import Glibc
internal import HostMemory
internal import Synchronization
internal import VMTypes

/// The thread that trades cold memory while a commit waits for the disk.
///
/// It works between `begin` and `end` only, which a commit calls with the store's lock held. `end` returns when the step in
/// hand is done: 16 pages copied, or one table exchanged.
final class ColdTrader: Sendable {
    private enum Phase { case idle, working, over }

    private struct State: Sendable {
        var phase = Phase.idle
        var job: (mappings: [ExclusiveMapping], rounds: Int?, home: ShadowHome)?
        var failure: StoreError?
        var hasThread = false
    }

    private let monitor = ManagerMonitor(State())
    private let mayGoOn = Atomic<Bool>(false)
    /// What a commit may have to wait for.
    private static let stepPages = 16
    /// Commits to come before it is worth looking again.
    private let pause = Atomic<Int>(0)
    /// Commits to come before trading what is above the limit is tried again.
    private let limitPause = Atomic<Int>(0)
    /// Commits to wait after a failure: the disk may have room again some time.
    private static let failurePause = 1_000

    /// Why it failed last.
    var failure: StoreError? { monitor.withLock { $0.failure } }

    /// Whether a commit trades what is above the limit.
    func mayTryLimit() -> Bool { limitPause.wrappingSubtract(1, ordering: .relaxed).newValue < 0 }

    /// What came of it; where it can't go on, the next commits don't try.
    func limitTried(_ failure: StoreError?, goesOn: Bool) {
        limitPause.store(goesOn ? 0 : Self.failurePause, ordering: .relaxed)
        monitor.withLock { $0.failure = failure }
    }

    /// Trades tables that were not stored to for `rounds` commits, or for as many as make it pay, until `end`.
    func begin(_ mappings: [ExclusiveMapping], rounds: Int?, to home: ShadowHome) -> Bool {
        guard !mappings.isEmpty, pause.wrappingSubtract(1, ordering: .relaxed).newValue < 0 else { return false }
        mayGoOn.store(true, ordering: .releasing)
        return monitor.change { state in
            guard state.phase == .idle, state.hasThread || start() else { return false }
            state.hasThread = true
            state.job = (mappings, rounds, home)
            state.phase = .working
            return true
        }
    }

    /// Returns when nothing is traded any more.
    func end() {
        mayGoOn.store(false, ordering: .releasing)
        monitor.wait { state -> Void? in
            guard state.phase == .working else { return () }
            // The thread has not even woken up.
            guard state.job != nil else { return nil }
            state.job = nil
            state.phase = .idle
            return ()
        }
    }

    /// Ends the thread.
    func close() { monitor.change { $0.phase = .over } }

    private func start() -> Bool {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self)
        guard pthread_create(&thread, nil, coldTraderMain, context.toOpaque()) == 0 else {
            context.release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    fileprivate func run() {
        while true {
            let job = monitor.wait { state -> (mappings: [ExclusiveMapping], rounds: Int?, home: ShadowHome)?? in
                if state.phase == .over { return .some(nil) }
                defer { state.job = nil }
                return state.job.map { .some($0) }
            }
            guard let job else { return }
            var failure: StoreError?
            do throws(StoreError) {
                let found = try Self.trade(job.mappings, job.rounds, job.home, &failure) {
                    self.mayGoOn.load(ordering: .acquiring)
                }
                pause.store(found ? 0 : 8, ordering: .relaxed)
            } catch {
                failure = error
                pause.store(Self.failurePause, ordering: .relaxed)
            }
            monitor.change { state in
                state.failure = failure
                if state.phase == .working { state.phase = .idle }
            }
        }
    }

    /// Trades what is cold until `mayGoOn` says no more; false where nothing was. A table that can't be traded is passed over.
    private static func trade(
        _ mappings: [ExclusiveMapping], _ rounds: Int?, _ home: ShadowHome, _ failure: inout StoreError?,
        while mayGoOn: () -> Bool
    ) throws(StoreError) -> Bool {
        var found = false
        for mapping in mappings {
            for table in mapping.coldTables(rounds: rounds, most: 64) {
                found = true
                var step = ExclusiveMapping.TradeStep.copied
                while step == .copied || step == .unsettled {
                    guard mayGoOn() else { return true }
                    if step == .unsettled { try mapping.settleCopies() }
                    do throws(StoreError) { step = try mapping.trade(table.number, to: home, pages: stepPages) } catch {
                        guard error.code != .full else { throw error }
                        failure = error
                        step = .refused
                    }
                }
            }
        }
        return found
    }
}

private func coldTraderMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<ColdTrader>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
