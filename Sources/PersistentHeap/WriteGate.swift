internal import Glibc

/// Keeps changes and commits apart: a change that is under way is whole before a commit captures it.
///
/// Thread-safe; a thread that is inside may enter again.
final class WriteGate: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>

    init() {
        mutex = .allocate(capacity: 1)
        var attributes = pthread_mutexattr_t()
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_RECURSIVE))
        pthread_mutex_init(mutex, &attributes)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    func enter() { pthread_mutex_lock(mutex) }
    func leave() { pthread_mutex_unlock(mutex) }
}

extension HeapSpace {
    /// Runs a change of several steps that a commit may not divide: allocating, say, and storing where the block is.
    ///
    /// Waits while another thread commits or holds a transaction. Within it, commits of this thread are `.wrongState`.
    @inlinable package func changing<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        beginChange()
        defer { endChange() }
        return try body()
    }

    @usableFromInline package func beginChange() { gate.enter() }
    @usableFromInline package func endChange() { gate.leave() }
}
