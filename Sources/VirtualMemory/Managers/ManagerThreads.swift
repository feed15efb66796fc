internal import Glibc
internal import VMTypes

/// Threads for what may take long or hang: managers' code, and waiting for their answers.
///
/// There are as many as there is work at once; an idle one ends after a second. A thread that managers' code holds for ever
/// is lost, and another takes its place.
enum ManagerThreads {
    private struct Job {
        let id: Int
        let work: @Sendable () -> Void
        let onExit: (@Sendable () -> Void)?
    }

    private struct Pool {
        var jobs: [Job] = []
        var idle = 0
        var lastID = 0
    }

    private static let pool = ManagerMonitor(Pool())

    /// What is told when a thread exits in the middle of its work.
    private final class ExitNotice {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        pthread_key_create(&key, managerThreadExited)
        return key
    }()

    fileprivate static func threadExited(_ notice: UnsafeMutableRawPointer) {
        Unmanaged<ExitNotice>.fromOpaque(notice).takeRetainedValue().body()
    }

    /// Runs `work` soon, on some thread; `onExit` is run where `work` ends the thread instead of returning.
    ///
    /// Throws `.full` where the host has no thread left; `work` is not run then.
    static func run(onExit: (@Sendable () -> Void)? = nil, _ work: @escaping @Sendable () -> Void) throws(StoreError) {
        let (id, isServed) = pool.change { pool in
            pool.lastID += 1
            pool.jobs.append(Job(id: pool.lastID, work: work, onExit: onExit))
            return (pool.lastID, pool.idle >= pool.jobs.count)
        }
        if isServed { return }
        var thread = pthread_t()
        var all = sigset_t()
        var saved = sigset_t()
        sigfillset(&all)
        // The thread inherits the mask: no handler of the program's runs on it, but for what the thread itself raises. A
        // manager's code may store to memory of tasks, which may raise SIGSEGV that we handle.
        for raised in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP] { sigdelset(&all, raised) }
        pthread_sigmask(SIG_SETMASK, &all, &saved)
        defer { pthread_sigmask(SIG_SETMASK, &saved, nil) }
        let result = pthread_create(&thread, nil, managerThreadMain, nil)
        if result == 0 {
            pthread_detach(thread)
            return
        }
        let isWithdrawn = pool.change { pool in
            guard let index = pool.jobs.firstIndex(where: { $0.id == id }) else { return false }
            pool.jobs.remove(at: index)
            return true
        }
        if isWithdrawn {
            throw StoreError(
                .full, "no thread could be made for a memory manager", advice: "Raise the limit of processes (ulimit -u)",
                errno: result)
        }
    }

    fileprivate static func workUntilIdle() {
        while let job = next() {
            guard let onExit = job.onExit else {
                job.work()
                continue
            }
            let notice = Unmanaged.passRetained(ExitNotice(onExit))
            pthread_setspecific(key, notice.toOpaque())
            job.work()
            pthread_setspecific(key, nil)
            notice.release()
        }
    }

    private static func next() -> Job? {
        pool.withLock { $0.idle += 1 }
        let job = pool.wait(until: seconds() + 1) { $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }
        // A job that came at the last moment relied on this thread.
        return pool.withLock { pool in
            pool.idle -= 1
            return job ?? (pool.jobs.isEmpty ? nil : pool.jobs.removeFirst())
        }
    }
}

/// The threads' entry: a function of its own, since a closure may not be one.
private func managerThreadMain(_: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    ManagerThreads.workUntilIdle()
    return nil
}

/// Called where a thread exits in the middle of its work: it has a notice then.
private func managerThreadExited(_ notice: UnsafeMutableRawPointer?) {
    if let notice { ManagerThreads.threadExited(notice) }
}
