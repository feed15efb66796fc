internal import VMTypes

/// The manager's side: its calls, one at a time, in order, on a thread that it may hold or end.
extension ManagedPager {
    /// Sees to it that a thread makes the calls that wait.
    func kick() {
        let isNeeded = state.withLock { state in
            if state.isCalling || state.calls.isEmpty || state.manager == nil { return false }
            state.isCalling = true
            return true
        }
        guard isNeeded else { return }
        do throws(StoreError) {
            try ManagerThreads.run(onExit: { [self] in
                end(Ending(reason: "the thread of its manager exited"), isManagerGone: true)
            }) { [self] in makeCalls() }
        } catch {
            // What waits meets its deadline, or a later call finds a thread.
            state.withLock { $0.isCalling = false }
        }
    }

    private func makeCalls() {
        while let (call, manager) = nextCall() { perform(call, manager) }
    }

    private func nextCall() -> (Call, any MemoryManager)? {
        state.withLock { state in
            guard let manager = state.manager, !state.calls.isEmpty else {
                state.isCalling = false
                return nil
            }
            return (state.calls.removeFirst(), manager)
        }
    }

    private func perform(_ call: Call, _ manager: any MemoryManager) {
        switch call {
        case .initialize:
            do {
                try manager.initialize(MemoryObjectControl(self))
                state.change { state in if case .starting = state.life { state.life = .ready } }
            } catch {
                end(Ending(reason: "its manager did not initialize: \(error)"), isManagerGone: true)
            }
        case .request(let pending):
            // Nobody may wait for it any more.
            guard state.withLock({ _ in pending.answer == nil }) else { return }
            let request = DataRequest(pending, self)
            do { try manager.dataRequest(request) } catch { try? request.fail("\(error)") }
        case .take(let pending):
            do {
                try manager.dataReturn(pending.pages)
                finish(pending, .taken)
            } catch { finish(pending, .refused("\(error)")) }
        case .terminate:
            manager.terminate(id)
            // `manager` is let go of by who called, not under the lock.
            state.withLock { $0.manager = nil }
        }
    }
}
