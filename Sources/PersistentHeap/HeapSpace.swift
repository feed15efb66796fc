internal import Synchronization
internal import VirtualMemory
internal import VMTypes

/// The memory of one open heap, as collections and references see it.
///
/// Everything in a heap is named by its *offset*: bytes from the heap's base, never 0, the same wherever the heap is mapped.
/// Thread-safe as far as the allocator goes; what lies in a block belongs to whoever allocated it.
///
/// Reads and writes of typed values are checked against the heap's bounds: an offset outside, or any use after the heap was
/// closed, stops the program, as an array's index out of range does. A value is written with `store`, or after `willWrite`;
/// so `commit(declaredOnly:)` knows what changed.
public final class HeapSpace: @unchecked Sendable {
    /// What the fast paths read, at an address of its own so that reading it takes no exclusivity check.
    @usableFromInline
    struct Bounds {
        /// Bytes from the base that may be accessed; 0 once the heap is closed.
        @usableFromInline var limit: Int
        /// Whether several threads change the heap, so that words of the bitmap are changed atomically.
        var isShared = false
        /// Whether every thread has seen that.
        var isSettled = false

        init(limit: Int) { self.limit = limit }
    }

    /// Where the heap is in this process.
    @usableFromInline package let base: UnsafeMutableRawPointer
    @usableFromInline let bounds: UnsafeMutablePointer<Bounds>
    /// A byte a page: declared since the last commit.
    @usableFromInline let declared: UnsafeMutablePointer<UInt8>
    /// Whether the heap shows a past state or is open for reading.
    package let isReadOnly: Bool
    /// Whether the heap is elsewhere than at its home address, so that raw pointers in it mean nothing.
    package let isRelocated: Bool
    /// Names the space among those of this process.
    let number = ThreadRecords.newHeapNumber()
    let geometry: HeapGeometry
    let tables: VolatileTables
    /// The unit table.
    let table: UnsafeMutablePointer<UInt8>
    /// The bits of allocated blocks.
    let bitmap: UnsafeMutablePointer<UInt64>
    let gate: WriteGate
    /// How many blocks a thread's cache holds of each class.
    let capacities: UnsafeMutablePointer<UInt32>
    /// The task that the heap is mapped in; nil for a past state.
    let task: VMTask?
    /// A past state's memory, until the view is closed; guarded by the central lock.
    private var state: Store.MappedState?
    /// How often the heap's bytes were put back to a commit's; changes under the closed gate.
    private(set) var restorations = 0
    private let centralLock = Mutex(())
    private var central: Central
    /// What went wrong where nothing could be thrown.
    private let kept = Mutex<HeapError?>(nil)

    init(
        base: UnsafeMutableRawPointer, geometry: HeapGeometry, isRelocated: Bool, task: VMTask?, state: Store.MappedState? = nil,
        gate: WriteGate
    ) throws(HeapError) {
        self.base = base
        self.geometry = geometry
        isReadOnly = task == nil
        self.isRelocated = isRelocated
        self.task = task
        self.state = state
        self.gate = gate
        capacities = .allocate(capacity: SizeClasses.end)
        capacities.initialize(from: ThreadCache.capacities, count: SizeClasses.end)
        bounds = .allocate(capacity: 1)
        bounds.initialize(to: Bounds(limit: geometry.capacity))
        let tables: VolatileTables
        do throws(HeapError) { tables = try VolatileTables(geometry) } catch {
            bounds.deallocate()
            capacities.deallocate()
            throw error
        }
        self.tables = tables
        declared = tables.declared
        table = (base + geometry.table).assumingMemoryBound(to: UInt8.self)
        bitmap = (base + geometry.bitmap).assumingMemoryBound(to: UInt64.self)
        central = Central(tables)
        if !isReadOnly { gate.add(self) }
    }

    deinit {
        // Let go of without having been closed: the store keeps what was declared for its next commit.
        if !isClosed, !isReadOnly, tellDeclared() { gate.notePending() }
        ThreadRecords.end(self)
        bounds.deallocate()
        capacities.deallocate()
    }

    /// Runs `body` under the central lock.
    func withCentral<Result, Failure: Error>(_ body: (inout Central) throws(Failure) -> Result) throws(Failure) -> Result {
        centralLock._unsafeLock()
        defer { centralLock._unsafeUnlock() }
        return try body(&central)
    }

    /// From now on every access stops the program with a sentence, instead of touching what else may be there.
    func close() {
        // First: who waits to change the heap, and has no record any more, must see it.
        bounds.pointee.limit = 0
        ThreadRecords.end(self)
        withCentral { _ in state = nil }
    }

    /// Forgets all that was derived from the heap's bytes: they were put back, or some of them. The gate is closed, and the task
    /// was told what was declared.
    func forget(isComplete: Bool) {
        if isComplete { forgetFailure() }
        forgetBlocks()
        restorations += 1
    }

    /// Tells the task which pages were declared; true where there were any.
    func tellDeclared() -> Bool {
        let first = UInt64(UInt(bitPattern: base))
        var isAny = false
        tables.takeDeclared { page, count in
            isAny = true
            task?.touch(address: first + UInt64(page) << 12, size: UInt64(count) << 12)
        }
        return isAny
    }

    var isClosed: Bool { bounds.pointee.limit == 0 }

    /// Keeps what went wrong in a getter or a setter, which can't throw: the next commit throws it. The first one stays.
    @usableFromInline package func fail(_ error: HeapError) { kept.withLock { if $0 == nil { $0 = error } } }

    /// What went wrong, since the last abandonment, where nothing could be thrown.
    package var failure: HeapError? { kept.withLock { $0 } }

    /// Forgets what went wrong: the heap is as it was before.
    func forgetFailure() { kept.withLock { $0 = nil } }

    /// Refuses what looks at a heap that was closed, or asks for other threads' consent in a forked child, which has none.
    func requireOpen() throws(HeapError) {
        if ForkedChild.isCurrent { try HeapError.translating { () throws(StoreError) in try ForkedChild.refuse() } }
        if isClosed { throw Self.closed() }
    }

    /// Refuses what changes the heap.
    package func requireWritable() throws(HeapError) {
        try requireOpen()
        if isReadOnly {
            throw HeapError(.readOnly, "the heap shows a past state, or is open for reading", advice: "Change the heap that is open for writing")
        }
    }
}
