internal import Synchronization
package import VMTypes

/// Who keeps something beside a store's memory that goes with its bytes, as heaps' allocators do.
///
/// The store calls it, without its lock, round everything that captures memory or puts it back; a call that `begin` let pass is
/// followed by the `end`, of the same thread. Calls may come one within another.
package protocol MemoryUser: AnyObject, Sendable {
    /// Memory is about to be captured: until `endCapture` nobody changes it in steps, and what is declared is told the task.
    ///
    /// Throws `.wrongState` where the calling thread is in the middle of such a change.
    func beginCapture() throws(StoreError)
    /// - Parameter isCommitted: Whether a version holds what was captured.
    func endCapture(isCommitted: Bool)
    /// Memory is about to be put back to a version. Throws as `beginCapture`.
    func beginRestoration() throws(StoreError)
    /// - Parameter isComplete: False: a part of memory was put back, or it failed; bytes may be the old or the new ones.
    func endRestoration(isComplete: Bool)
}

extension Store {
    struct WeakMemoryUser: Sendable { weak var user: (any MemoryUser)? }

    /// Who is told when memory is captured or put back; kept weakly. One for a store.
    package func setMemoryUser(_ user: any MemoryUser) { memoryUser.withLock { $0.user = user } }

    /// Captures memory in `body`, which returns once a version holds it.
    func capturing<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        // The parent's threads, which the user may wait for, are not the child's.
        try ForkedChild.refuse()
        guard let user = memoryUser.withLock({ $0.user }) else { return try body() }
        try user.beginCapture()
        var isCommitted = false
        defer { user.endCapture(isCommitted: isCommitted) }
        let result = try body()
        isCommitted = true
        return result
    }

    /// Runs `body` while nobody changes memory in steps.
    func excludingChanges<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        try ForkedChild.refuse()
        guard let user = memoryUser.withLock({ $0.user }) else { return try body() }
        try user.beginCapture()
        defer { user.endCapture(isCommitted: false) }
        return try body()
    }

    /// Puts memory back in `body`, which returns once all of it is as the version says, or, where not `isWhole`, a part.
    func restoring<Result>(isWhole: Bool = true, _ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        try ForkedChild.refuse()
        guard let user = memoryUser.withLock({ $0.user }) else { return try body() }
        try user.beginRestoration()
        var isComplete = false
        defer { user.endRestoration(isComplete: isComplete) }
        let result = try body()
        isComplete = isWhole
        return result
    }
}
