internal import Glibc
internal import Synchronization

/// Threads that work on the same thing until all are done.
enum LabThreads {
    private final class Start: Sendable {
        let body: @Sendable (Int) throws(LabError) -> Void
        let number: Int
        let error: Box

        init(_ body: @escaping @Sendable (Int) throws(LabError) -> Void, _ number: Int, _ error: Box) {
            self.body = body
            self.number = number
            self.error = error
        }
    }

    private final class Box: Sendable {
        let error = Mutex<LabError?>(nil)
        func note(_ new: LabError) { error.withLock { $0 = $0 ?? new } }
    }

    /// Calls `body` with 0, 1, … on a thread each; throws the first error of theirs when all have ended.
    static func run(_ count: Int, _ body: @escaping @Sendable (Int) throws(LabError) -> Void) throws(LabError) {
        let box = Box()
        var threads: [pthread_t] = []
        for number in 0..<count {
            var thread = pthread_t()
            let start = Unmanaged.passRetained(Start(body, number, box))
            let code = pthread_create(
                &thread, nil,
                { argument in
                    let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                    do throws(LabError) { try start.body(start.number) } catch { start.error.note(error) }
                    return nil
                }, start.toOpaque())
            guard code == 0 else {
                start.release()
                box.note(LabError("a thread could not be started: \(String(cString: strerror(code)))"))
                break
            }
            threads.append(thread)
        }
        for thread in threads { pthread_join(thread, nil) }
        if let error = box.error.withLock({ $0 }) { throw error }
    }
}
