internal import Glibc
internal import VMTypes

/// A mutex with condition variables, where `Mutex` alone does not do: threads that wait for a flush, for ring
/// space or for the settler.
///
/// Invariant: `state` is touched only by the thread that holds `mutex`.
final class Monitor<State>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    /// What the background thread waits for: each commit wakes its waiters, and it would be woken for nothing.
    private let work = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state: State

    init(_ state: State) {
        self.state = state
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_cond_init(work, &attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_cond_destroy(work)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        work.deallocate()
        mutex.deallocate()
    }

    func withLock<Result, Failure: Error>(_ body: (inout State) throws(Failure) -> Result) throws(Failure) -> Result {
        // The lock was held at the fork: in the child nothing changes the state any more, and nobody unlocks.
        if ForkedChild.isCurrent { return try body(&state) }
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Waits until `ready` answers a value; `ready` is called with the lock held, again after each `wake`.
    func wait<Result, Failure: Error>(
        until ready: (inout State) throws(Failure) -> Result?
    ) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = try ready(&state) { return result }
            pthread_cond_wait(condition, mutex)
        }
    }

    /// Waits, as the background thread, until `ready` answers a value or `seconds` have passed: then nil. Woken by `wakeWorker`.
    func waitForWork<Result>(seconds: Double, until ready: (inout State) -> Result?) -> Result? {
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        let nanoseconds = Int(seconds * 1e9) + deadline.tv_nsec
        deadline.tv_sec += nanoseconds / 1_000_000_000
        deadline.tv_nsec = nanoseconds % 1_000_000_000
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = ready(&state) { return result }
            if pthread_cond_timedwait(work, mutex, &deadline) == ETIMEDOUT { return ready(&state) }
        }
    }

    /// Holds the lock across a fork.
    func lock() { pthread_mutex_lock(mutex) }
    func unlock() { pthread_mutex_unlock(mutex) }

    /// Wakes every waiter; call it after a change under the lock.
    func wake() { pthread_cond_broadcast(condition) }

    /// Wakes the background thread.
    func wakeWorker() { pthread_cond_signal(work) }
}
