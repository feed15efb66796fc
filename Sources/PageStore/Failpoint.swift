internal import Glibc
internal import Synchronization

/// Named places where tests make a process die or a system call fail; compiled into debug builds only.
///
/// `VARVE_FAILPOINT=name:n` kills the process with SIGKILL at its n-th pass of `name`; `VARVE_FAILPOINT=*:n` at the
/// n-th pass of any. In a process, `Failpoint.fail` makes the n-th system call from now return an error.
public enum Failpoint {
    #if DEBUG
        private static let kill: (name: String, count: Int)? = {
            guard let text = getenv("VARVE_FAILPOINT").map({ String(cString: $0) }) else { return nil }
            let parts = text.split(separator: ":")
            guard parts.count == 2, let count = Int(parts[1]) else { return nil }
            return (String(parts[0]), count)
        }()
        private static let passes = Atomic<Int>(0)
        private static let failAt = Atomic<Int>(0)
        private static let failErrno = Atomic<Int32>(0)
        private static let failForever = Atomic<Bool>(false)
        private static let calls = Atomic<Int>(0)
    #endif

    /// Every step that `pass` names.
    static let names = [
        "journal.written", "journal.flushed", "journal.published", "settle.begin", "settle.layer", "settle.committed",
        "settle.published", "lmdb.commit", "lmdb.committed", "merge.part", "merge.committed", "merge.dropped",
        "merge.forgotten", "reclaim.buried", "stage.committed", "recovery.synced", "recovery.rewrite", "recovery.rewritten",
        "recovery.orphans", "checkpoint.written", "close.settled", "close.marked",
    ]

    /// A step of an operation that a crash may separate from the next.
    @inline(__always)
    static func pass(_ name: StaticString) {
        #if DEBUG
            guard let kill else { return }
            if kill.name == "*" || kill.name == "\(name)" {
                if passes.add(1, ordering: .relaxed).newValue == kill.count { Glibc.kill(getpid(), SIGKILL) }
            }
        #endif
    }

    /// The error that the next system call is to fail with, where a test asked for one.
    @inline(__always)
    static func injectedError() -> Int32? {
        #if DEBUG
            let call = calls.add(1, ordering: .relaxed).newValue
            let at = failAt.load(ordering: .relaxed)
            guard at != 0, call == at || (call > at && failForever.load(ordering: .relaxed)) else { return nil }
            return failErrno.load(ordering: .relaxed)
        #else
            return nil
        #endif
    }

    #if DEBUG
        /// System calls since `fail` was last called.
        static var callsMade: Int { calls.load(ordering: .relaxed) }

        /// Makes the `n`-th system call of the page store from now (and all later ones, where `forever`) fail with `error`.
        /// `n` = 0 ends it. Returns how many calls were made since the last call of this function.
        @discardableResult
        public static func fail(call n: Int, with error: Int32, forever: Bool = false) -> Int {
            failAt.store(0, ordering: .relaxed)
            let made = calls.exchange(0, ordering: .relaxed)
            failErrno.store(error, ordering: .relaxed)
            failForever.store(forever, ordering: .relaxed)
            failAt.store(n, ordering: .relaxed)
            return made
        }
    #endif
}
