internal import Glibc
internal import Synchronization
internal import VMTypes

/// Called by a thread of the store's own when it begins to work in the background, and when it is done.
public struct BackgroundWork: Sendable {
    /// Answers what `end` is given.
    let begin: @Sendable () -> Int
    let end: @Sendable (Int) -> Void

    public init(begin: @escaping @Sendable () -> Int, end: @escaping @Sendable (Int) -> Void) {
        self.begin = begin
        self.end = end
    }
}

extension PageStore {
    /// Starts the thread that settles in the background.
    func startSettler() {
        state.withLock { $0.settlerEnded = false }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        if pthread_create(&thread, &attributes, runSettler, context) != 0 {
            Unmanaged<PageStore>.fromOpaque(context).release()
            state.withLock { $0.settlerEnded = true }
        }
        pthread_attr_destroy(&attributes)
    }

    /// Waits for the settler to end; nothing settles in the background afterwards.
    func stopSettler() {
        state.withLock { $0.closing = true }
        state.wake()
        state.wakeWorker()
        let _: Bool = state.wait { state in state.settlerEnded ? true : nil }
    }

    /// How long a deferred commit may stay unflushed, and how soon after a failure settling is tried again.
    private static let pause = 0.5

    /// Somebody waits for room, or the journal still holds much.
    var hasMuchToSettle: Bool { state.withLock { $0.wantsSettling || isMuchToSettle($0) } }

    /// More than three eighths of the ring: then the settler is woken, and goes on.
    func isMuchToSettle(_ state: State) -> Bool { Int(state.head - state.tail) > ringBytes / 8 * 3 }

    /// Settles a batch in the background, but for the newest eighth of the ring: the versions that policy keeps, which settled
    /// would be a layer each, and pages that are soon written again. Whoever waits for room finds it: a record takes a third of
    /// the ring, and may leave as much at its end.
    func settleAhead() throws(StoreError) -> Bool { try settleOnce(butFor: ringBytes / 8) }

    /// So many pauses without work, and memory goes back: a program that commits now and then finds it again, since memory that
    /// is new to the process costs more than the copy into it.
    private static let pausesUntilIdle = 20

    fileprivate func settleInBackground() {
        var pauses = 0
        while true {
            let work: (closing: Bool, settles: Bool, flushes: Bool)? = state.waitForWork(seconds: Self.pause) { state in
                state.closing || state.wantsSettling ? (state.closing, state.wantsSettling, false) : nil
            }
            if work?.closing == true { break }
            pauses = work == nil ? pauses + 1 : 0
            if work == nil, state.withLock({ $0.unflushed > 0 && $0.failure == nil }) { try? flush(besideLeader: true) }
            if pauses > 0, pauses % Self.pausesUntilIdle == 0 { giveMemoryBack() }
            guard work?.settles == true else { continue }
            state.withLock { $0.wantsSettling = false }
            let around = aroundWork.withLock { $0 }
            let token = around?.begin()
            settleAndTidy()
            if let token { around?.end(token) }
        }
        state.withLock { $0.settlerEnded = true }
        state.wake()
    }

    /// Bytes of young records that stay in memory in pauses, as a share of the ring: the newest, which are most likely what the
    /// next patches are found against.
    private static let keptShare = 8

    /// Nobody commits much: memory goes back, once the lock is left.
    private func giveMemoryBack() {
        let idle = state.withLock { state in
            var dropped: [AlignedBuffer] = state.spareBuffers
            state.spareBuffers = []
            var kept = 0
            for index in state.young.indices.reversed() {
                guard let bytes = state.young[index].bytes else { continue }
                kept += bytes.buffer.capacity
                guard kept > ringBytes / Self.keptShare else { continue }
                for layer in state.young[index].layers where layer.record == 0 { youngPages.forgetBytes(of: layer.places) }
                dropped.append(bytes.buffer)
                state.young[index].bytes = nil
            }
            return dropped
        }
        withExtendedLifetime(idle) {}
    }

    private func settleAndTidy() {
        do throws(StoreError) {
            // Not until nothing is left: chasing a committer would settle a few commits a transaction.
            while try settleAhead() && hasMuchToSettle { tidy() }
        } catch {
            state.withLock { $0.settleFailure = error }
            state.wake()
            // A commit that waits for room is told; the next try comes with the next wish.
            return
        }
        tidy()
    }

    /// Merges and checkpoints where it is time to: also beside a committer that never rests, which would fill the disk else.
    private func tidy() {
        // Who reclaims does the same and more, and takes long: settling goes on meanwhile.
        guard merging._unsafeTryLock() else { return }
        merging._unsafeUnlock()
        // What could not be merged stays as it is; `verify` names damage that it met.
        try? mergeWhereWorthwhile()
        try? checkpointWhereWorthwhile()
    }
}

private func runSettler(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<PageStore>.fromOpaque(context!).takeRetainedValue().settleInBackground()
    return nil
}
