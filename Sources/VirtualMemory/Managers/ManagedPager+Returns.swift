internal import HostMemory
internal import VMTypes

/// Pages on their way back to the manager.
extension ManagedPager {
    /// Whether a commit took pages that the manager has not taken yet.
    var hasUnreturned: Bool { state.withLock { !$0.unreturned.isEmpty } }

    /// Keeps copies of pages, newer than those that are kept, for the manager.
    func keep(_ copies: [PageBytes]) {
        state.withLock { state in
            for copy in copies { for page in copy.pages.start..<copy.pages.end { state.unreturned[page] = copy } }
        }
    }

    /// Begins to return all that is kept, after what was begun before; nil where there is nothing.
    ///
    /// What nobody will ever take is given up, and the answer is a return that was refused. What is under way is not asked for
    /// again: nil while its deadline lasts, since whoever began it waits for it; after that, it is the answer.
    func beginReturn(_ version: Version) -> PendingReturn? {
        let pending: PendingReturn? = state.withLock { state in
            guard !state.unreturned.isEmpty else { return nil }
            if let last = state.returns.last, last.outcome == nil, state.isHeld(by: last) {
                defer { last.isLeft = false }
                return !last.isLeft && seconds() < last.deadline ? nil : last
            }
            let pages = ReturnedPages(object: id, version: version, size: size, runs: state.unreturnedRuns)
            let pending = PendingReturn(pages: pages, deadline: seconds() + state.attributes.deadline)
            if case .ended(let ending) = state.life {
                pending.outcome = .refused("they are given up: " + ending.reason)
                state.unreturned = [:]
            } else {
                state.returns.append(pending)
                state.calls.append(.take(pending))
            }
            return pending
        }
        if pending != nil { kick() }
        return pending
    }

    func finish(_ pending: PendingReturn, _ outcome: PendingReturn.Outcome) {
        state.change { state in
            pending.outcome = pending.outcome ?? outcome
            state.returns.removeAll { $0 === pending }
            guard case .taken = outcome else { return }
            // Newer copies stay, and go with the next commit.
            for run in pending.pages.runs {
                for page in run.pages.start..<run.pages.end where state.unreturned[page] === run.bytes {
                    state.unreturned[page] = nil
                }
            }
        }
    }

    /// Notes that nobody waits for a return.
    func leave(_ pending: PendingReturn) { state.withLock { _ in pending.isLeft = true } }

    /// Waits for a return; answers why it failed, or nil. One that comes late is taken all the same.
    func failure(of pending: PendingReturn) -> String? {
        switch state.wait(until: pending.deadline, { _ in pending.outcome }) {
        case .taken: nil
        case .refused(let reason): reason
        case nil: "its manager did not take them within its deadline"
        }
    }
}

extension ManagedPager.State {
    /// Whether a return has the bytes of every page that is kept.
    fileprivate func isHeld(by pending: PendingReturn) -> Bool {
        unreturned.allSatisfy { page, bytes in
            pending.pages.runs.contains { $0.bytes === bytes && $0.pages.start <= page && page < $0.pages.end }
        }
    }

    fileprivate var unreturnedRuns: [(pages: PageRange, bytes: PageBytes)] {
        var runs: [(pages: PageRange, bytes: PageBytes)] = []
        for page in unreturned.keys.sorted() {
            guard let bytes = unreturned[page] else { continue }
            if let last = runs.last, last.pages.end == page, last.bytes === bytes {
                runs[runs.count - 1].pages.count += 1
            } else {
                runs.append((PageRange(start: page, count: 1), bytes))
            }
        }
        return runs
    }
}
