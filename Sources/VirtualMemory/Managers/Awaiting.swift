internal import AddressMap
internal import HostMemory
internal import VMTypes

/// Calls that need what a manager has not given yet: they begin again once it is there, so that no lock is held meanwhile.
extension Store.Memory {
    /// What a call under the store's lock found missing.
    enum Awaited {
        /// The manager must have initialized.
        case readiness(ManagedPager)
        /// Pages must be in memory.
        case pages(PageRange, SharedMemory, ManagedPager)
    }

    /// Ends the call, where pages of a managed object are not in memory, until they are.
    mutating func require(_ pages: PageRange, of object: MappedObject) throws(VMError) {
        guard let managed = object.managed, case .shared(let shared) = object.home else { return }
        let range = pages.intersection(object.livePages)
        guard !range.isEmpty else { return }
        if let ending = managed.ending, ending.isDestroyed {
            throw managed.fault(range.start, ending.reason, .memoryFailure).vmError
        }
        guard try VMError.translating({ () throws(StoreError) in try shared.firstMissing(in: range) }) != nil else { return }
        awaited = .pages(range, shared, managed)
        throw VMError(.memoryError, "pages of object \(object.id) must be asked for")
    }

    /// Refuses a managed object whose manager does not serve it; ends the call until it has initialized.
    mutating func requireService(_ managed: ManagedPager) throws(VMError) {
        if let ending = managed.ending { throw VMError(.invalidObject, "object \(managed.id) is dead: \(ending.reason)") }
        if managed.isReady { return }
        awaited = .readiness(managed)
        throw VMError(.invalidObject, "the manager of object \(managed.id) has not initialized")
    }
}

extension Store.Memory.Awaited {
    /// Waits, without any lock.
    fileprivate func wait() throws(VMError) {
        switch self {
        case .readiness(let managed):
            guard managed.waitUntilStarted() else {
                throw VMError(.invalidObject, "the manager of object \(managed.id) has not initialized within its deadline")
            }
        case .pages(let range, let shared, let managed):
            do throws(StoreError) { try shared.bring(range) } catch {
                let isDestroyed = managed.ending?.isDestroyed == true
                throw VMError(isDestroyed ? .memoryFailure : .memoryError, error.message)
            }
        }
    }
}

extension Store {
    /// Runs `body` under the store's lock; where it ends with something awaited, once more when that is there. So `body` must
    /// leave nothing behind when it throws.
    func withManagers<Result>(_ body: (inout Memory) throws(VMError) -> Result) throws(VMError) -> Result {
        while true {
            var awaited: Memory.Awaited?
            do throws(VMError) {
                return try withMemory { (memory) throws(VMError) in
                    memory.awaited = nil
                    defer {
                        awaited = memory.awaited
                        memory.awaited = nil
                    }
                    return try body(&memory)
                }
            } catch {
                guard let awaited else { throw error }
                try awaited.wait()
            }
        }
    }
}

extension VMTask {
    /// Ends the call until every managed page of a range of regions is in memory.
    func requirePages(in range: Range<UInt64>, _ memory: inout Store.Memory) throws(VMError) {
        guard !memory.volatile.isEmpty else { return }
        for entry in map.pieces(in: range) {
            guard let id = entry.backing.object, let object = memory.mapped[id] else { continue }
            try memory.require(entry.pages, of: object)
        }
    }
}

extension MemoryFault {
    var vmError: VMError { VMError(code, description) }
}
