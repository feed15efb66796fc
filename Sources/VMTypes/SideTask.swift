internal import Glibc

/// Work that a thread of its own does beside its maker's; where no thread is to be had, its maker does it at once.
///
/// Invariant: `value` is written by whoever does the work, and read by others only after that thread was joined.
package final class SideTask<Value: Sendable>: @unchecked Sendable {
    private var value: Value?
    private var thread: pthread_t?

    /// Begins the work.
    package init(_ work: @escaping @Sendable () -> Value) {
        let body = SideTaskBody { [self] in value = work() }
        var made = pthread_t()
        let context = Unmanaged.passRetained(body).toOpaque()
        if pthread_create(&made, nil, runSideTask, context) == 0 {
            thread = made
        } else {
            Unmanaged<SideTaskBody>.fromOpaque(context).release()
            value = work()
        }
    }

    /// Waits for the work and answers what came of it. To be called once, by one thread.
    package func wait() -> Value {
        if let thread { pthread_join(thread, nil) }
        thread = nil
        return value!
    }

    deinit { if let thread { pthread_detach(thread) } }
}

private final class SideTaskBody: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private func runSideTask(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<SideTaskBody>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
