internal import CPersistentHeap
internal import Glibc
internal import Synchronization
internal import VirtualMemory
internal import VMTypes

/// Keeps changes and what excludes them apart: a change that is under way is whole before a commit captures it, and waits
/// while one captures, or a transaction of another thread is open.
///
/// A change costs its thread two stores and a load: the thread that excludes raises a flag in every other thread's record, has
/// all processors order it (membarrier), and waits until none is in a change. Heaps of one store share a gate, since they
/// share its commits. Thread-safe.
final class WriteGate: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    // Guarded by `mutex`.
    private var records: [(record: ThreadRecord, thread: UInt64)] = []
    private var holder: UInt64?
    private var depth = 0
    private var spaces: [WeakSpace] = []
    /// The transaction of the thread that excludes the others; only that thread looks at it.
    var transaction = Transaction()
    /// Whether it is the heaps' own commit or abandonment that goes to the store; for the thread that excludes the others.
    private var isOwnCall = false
    /// Whether the task was told of declared pages that no commit holds yet.
    private let hasPendingPages = Atomic(false)

    /// How many transactions are open, one within the other, and whether one inside was abandoned.
    struct Transaction {
        var depth = 0
        var isDoomed = false
        /// How many of them, from the outermost on, only the end of a closure ends.
        var closures = 0
    }

    private struct WeakSpace { weak var space: HeapSpace? }

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(condition)
        mutex.deallocate()
        condition.deallocate()
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    /// Whether the calling thread excludes the others.
    var isHeldHere: Bool { locked { holder == ph_thread() } }

    /// How many threads have a record in a heap.
    func recordCount(of heap: UInt64) -> Int { locked { records.count { ph_heap($0.record) == heap } } }

    /// Whether the calling thread is within a change of any heap.
    var isChangingHere: Bool {
        locked { records.contains { $0.thread == ph_thread() && ph_is_busy($0.record) } }
    }

    /// Takes up a heap that is open for writing.
    func add(_ space: HeapSpace) {
        // A last reference must not go under the mutex: the end of a space takes it.
        let others = locked { spaces.map(\.space) }
        locked {
            spaces.removeAll { $0.space == nil }
            spaces.append(WeakSpace(space: space))
        }
        withExtendedLifetime(others) {}
    }

    /// The heaps of the store that are open for writing.
    var openSpaces: [HeapSpace] { locked { spaces.map(\.space) }.compactMap { $0 }.filter { !$0.isClosed } }

    /// Takes up a record of the calling thread.
    func add(_ record: ThreadRecord) {
        locked {
            records.append((record, ph_thread()))
            if let holder, holder != ph_thread() { ph_set_stop(record, 1) }
        }
    }

    /// Lets go of a record whose thread ends.
    func remove(_ record: ThreadRecord) { locked { records.removeAll { $0.record == record } } }

    /// Lets go of all records of a heap.
    func remove(heap: UInt64) -> [ThreadRecord] {
        locked {
            let found = records.filter { ph_heap($0.record) == heap }.map(\.record)
            records.removeAll { ph_heap($0.record) == heap }
            return found
        }
    }

    /// The records of a heap; only for a thread that excludes the others.
    func records(of heap: UInt64) -> [ThreadRecord] { locked { records.filter { ph_heap($0.record) == heap }.map(\.record) } }

    /// Waits until no other thread is in a change or excludes others, and keeps it so until `open`. Its holder may call it
    /// again. The calling thread is in no change.
    func close() {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        let me = ph_thread()
        if holder == me {
            depth += 1
            return
        }
        while holder != nil { pthread_cond_wait(condition, mutex) }
        holder = me
        depth = 1
        for (record, thread) in records where thread != me { ph_set_stop(record, 1) }
        awaitQuiet { ph_is_busy($0) }
    }

    func open() {
        locked {
            depth -= 1
            guard depth == 0 else { return }
            holder = nil
            for (record, _) in records { ph_set_stop(record, 0) }
            pthread_cond_broadcast(condition)
        }
    }

    /// Waits until nobody excludes the calling thread, which is in no change.
    func awaitOpen() {
        pthread_mutex_lock(mutex)
        while let holder, holder != ph_thread() { pthread_cond_wait(condition, mutex) }
        pthread_mutex_unlock(mutex)
    }

    /// Has the other threads in a heap see what this one stored, and waits until none changes a word of the bitmap that may not
    /// have: a few instructions, whatever change they are part of.
    func settle(heap: UInt64) {
        locked { awaitQuiet { ph_heap($0) == heap && ph_is_marking($0) } }
    }

    /// Waits until no other thread's record is as `isBusy` says, with the mutex let go of now and then: a change may need it.
    private func awaitQuiet(_ isBusy: (ThreadRecord) -> Bool) {
        let me = ph_thread()
        guard records.contains(where: { $0.thread != me }) else { return }
        ph_barrier_all()
        var tries = 0
        while records.contains(where: { $0.thread != me && isBusy($0.record) }) {
            pthread_mutex_unlock(mutex)
            tries += 1
            if tries > 1000 { usleep(50) } else { sched_yield() }
            pthread_mutex_lock(mutex)
        }
    }

    // MARK: The store's calls

    /// Runs a commit or an abandonment of the heaps' own, which may end a transaction.
    func calling<Result>(_ body: () throws(StoreError) -> Result) throws(HeapError) -> Result {
        isOwnCall = true
        defer { isOwnCall = false }
        return try HeapError.translating(body)
    }

    /// Whether nothing that a heap declared waits for a commit; for a thread that excludes the others.
    var hasDeclared: Bool { hasPendingPages.load(ordering: .relaxed) || openSpaces.contains { $0.tables.hasDeclared } }

    /// Tells the tasks which pages the heaps declared: from now on the store keeps them until a commit holds them.
    func tellDeclared() { for space in openSpaces where space.tellDeclared() { notePending() } }

    func notePending() { hasPendingPages.store(true, ordering: .relaxed) }

    private func begin(_ what: String) throws(StoreError) {
        guard !isChangingHere else {
            throw StoreError(.wrongState, "\(what) can't be made within a change of a heap", advice: "Do it after the change")
        }
        close()
        guard transaction.depth == 0 || isOwnCall else {
            open()
            throw StoreError(.wrongState, "\(what) can't be made within a heap's transaction", advice: "The transaction's end does it")
        }
        tellDeclared()
    }

    /// The gates of the stores that have heaps open.
    private static let gates = Mutex<[ObjectIdentifier: Weak]>([:])

    private struct Weak: @unchecked Sendable { weak var gate: WriteGate? }

    /// The gate that all heaps of a store share.
    static func of(_ store: Store) -> WriteGate {
        gates.withLock { gates in
            if let gate = gates[ObjectIdentifier(store)]?.gate { return gate }
            let gate = WriteGate()
            gates = gates.filter { $0.value.gate != nil }
            gates[ObjectIdentifier(store)] = Weak(gate: gate)
            store.setMemoryUser(gate)
            return gate
        }
    }
}

extension WriteGate: MemoryUser {
    func beginCapture() throws(StoreError) { try begin("a commit") }

    func endCapture(isCommitted: Bool) {
        if isCommitted { hasPendingPages.store(false, ordering: .relaxed) }
        open()
    }

    func beginRestoration() throws(StoreError) { try begin("putting memory back") }

    func endRestoration(isComplete: Bool) {
        for space in openSpaces { space.forget(isComplete: isComplete) }
        if isComplete { hasPendingPages.store(false, ordering: .relaxed) }
        open()
    }
}

extension HeapSpace {
    /// Runs a change of several steps that a commit may not divide: allocating, say, and storing where the block is.
    ///
    /// Waits while another thread commits or holds a transaction; changes of several threads go on together, and what they
    /// share among them is theirs to guard. Within it, commits of this thread are `.wrongState`. Keep it short.
    @inlinable package func changing<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        beginChange()
        defer { endChange() }
        return try body()
    }

    /// Begins a change. In a heap that was closed or is read-only it does nothing: the change itself is refused.
    @usableFromInline package func beginChange() {
        if let record = recordToChange() { _ = enter(record) }
    }

    @usableFromInline package func endChange() {
        if let record = ThreadRecords.find(number), ph_is_busy(record) { ph_leave(record) }
    }

    /// The calling thread's record, made where it is not there; nil in a heap that can't be changed.
    func recordToChange() -> ThreadRecord? {
        if let record = ThreadRecords.find(number) { return record }
        guard !isReadOnly, !isClosed, !ForkedChild.isCurrent else { return nil }
        let record = ThreadRecords.make(for: self)
        if !bounds.pointee.isSettled, gate.recordCount(of: number) > 1 {
            bounds.pointee.isShared = true
            gate.settle(heap: number)
            bounds.pointee.isSettled = true
        }
        return record
    }

    /// Begins a change of the calling thread; false where the heap was closed meanwhile: then none has begun.
    @inline(__always)
    func enter(_ record: ThreadRecord) -> Bool { ph_enter(record) || enterSlowly(record) }

    @inline(never)
    private func enterSlowly(_ record: ThreadRecord) -> Bool {
        while true {
            // The threads that a forked child's gate waits for are its parent's: memory is all that it may use.
            if ForkedChild.isCurrent { return true }
            ph_leave(record)
            // Within a change of another heap of the store, which whoever excludes waits for: this is part of it.
            let isWithin = gate.isChangingHere
            if !isWithin { gate.awaitOpen() }
            // Whoever closed the heap took the record away, with its flag up.
            if isClosed { return false }
            if ph_enter(record) || isWithin { return true }
        }
    }
}
