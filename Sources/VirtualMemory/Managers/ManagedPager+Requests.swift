internal import Glibc
internal import HostMemory
internal import VMTypes

/// Pages that somebody waits for.
extension ManagedPager {
    /// The bytes of pages around `page`; where a request for several is refused, the one is asked for alone.
    func bring(_ window: PageRange, for page: Int) throws(StoreError) -> PageBytes {
        do throws(Refusal) {
            do throws(Refusal) {
                return try ask(window, for: page)
            } catch {
                // Its neighbours' failure is not this page's.
                guard error.wasForSeveral else { throw error }
                return try ask(PageRange(start: page, count: 1), for: page)
            }
        } catch {
            state.withLock { $0.faults[page] = error.fault }
            throw error.fault.storeError
        }
    }

    private struct Refusal: Error {
        var fault: MemoryFault
        /// The manager refused a request for more than the page.
        var wasForSeveral = false
    }

    private enum Way {
        case known(PageBytes)
        case asked(PendingRequest)
    }

    private func ask(_ window: PageRange, for page: Int) throws(Refusal) -> PageBytes {
        let way = try state.withLock { (state) throws(Refusal) -> Way in
            if case .ended(let ending) = state.life {
                throw Refusal(fault: fault(page, ending.reason, ending.isDestroyed ? .memoryFailure : .memoryError))
            }
            // The manager does not have the newest bytes yet.
            if let kept = state.unreturned[page] {
                return .known(PageBytes(PageRange(start: page, count: 1)) { memcpy($0, kept.pointer(toPage: page), Page.size) })
            }
            if let request = state.requests.first(where: { !$0.isForgotten && $0.pages.contains(page) }) { return .asked(request) }
            let request = PendingRequest(
                pages: state.unasked(window, around: page), deadline: seconds() + state.attributes.deadline)
            state.requests.append(request)
            state.calls.append(.request(request))
            return .asked(request)
        }
        switch way {
        case .known(let bytes): return bytes
        case .asked(let request):
            kick()
            return try answer(of: request, for: page)
        }
    }

    private func answer(of request: PendingRequest, for page: Int) throws(Refusal) -> PageBytes {
        let answer = state.wait(until: request.deadline) { _ in request.answer }
        switch answer {
        case .supplied(let bytes): return bytes
        case .failed(let reason):
            let ending = ending
            throw Refusal(
                fault: fault(page, reason, ending?.isDestroyed == true ? .memoryFailure : .memoryError),
                wasForSeveral: request.pages.count > 1 && ending == nil)
        case .timedOut, nil:
            finish(request, .timedOut)
            throw Refusal(fault: fault(page, "its manager did not answer within its deadline"))
        }
    }

    /// Takes the answer to a request, and wakes whoever waits for it; false where it had one.
    @discardableResult
    func finish(_ request: PendingRequest, _ answer: PendingRequest.Answer) -> Bool {
        state.change { state in
            guard request.answer == nil else { return false }
            request.answer = answer
            state.requests.removeAll { $0 === request }
            if case .supplied(let bytes) = answer, !state.faults.isEmpty {
                for page in bytes.pages.start..<bytes.pages.end { state.faults[page] = nil }
            }
            return true
        }
    }

    /// What was asked for so far answers nobody who comes later: the pages are about to be asked for again.
    func forgetRequests(in pages: PageRange) {
        state.withLock { state in
            for request in state.requests where request.pages.clipped(to: pages) != nil { request.isForgotten = true }
        }
    }
}

extension ManagedPager.State {
    /// The part of `window` around `page` that is neither asked for nor kept here.
    fileprivate func unasked(_ window: PageRange, around page: Int) -> PageRange {
        var start = page, end = page + 1
        func isFree(_ page: Int) -> Bool {
            unreturned[page] == nil && !requests.contains { !$0.isForgotten && $0.pages.contains(page) }
        }
        while start > window.start, isFree(start - 1) { start -= 1 }
        while end < window.end, isFree(end) { end += 1 }
        return PageRange(start: start, count: end - start)
    }
}
