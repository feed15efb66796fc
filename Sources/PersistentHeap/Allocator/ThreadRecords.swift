internal import CPersistentHeap
internal import Glibc
internal import Synchronization

typealias ThreadRecord = UnsafeMutablePointer<ph_record>

/// A thread's cache of free blocks, behind its record: for each class a stack of granules.
///
/// Invariant: behind every record lie `SizeClasses.end` counts and as many stacks of `depth` granules; only the record's
/// thread touches them, or one that excludes all changes.
enum ThreadCache {
    static let depth = 64
    static let recordBytes =
        MemoryLayout<ph_record>.stride + SizeClasses.end * MemoryLayout<UInt32>.stride * (1 + depth)

    /// How many blocks of each class a cache holds: 64 KiB of them, eight at least.
    static let capacities: [UInt32] = SizeClasses.sizes.map { UInt32(min(depth, max(8, 65536 / max(1, $0)))) }

    @inline(__always)
    static func counts(_ record: ThreadRecord) -> UnsafeMutablePointer<UInt32> {
        UnsafeMutableRawPointer(record + 1).assumingMemoryBound(to: UInt32.self)
    }

    @inline(__always)
    static func stack(_ record: ThreadRecord, _ number: Int) -> UnsafeMutablePointer<UInt32> {
        counts(record) + (classCount &+ number &* depth)
    }

    // A constant: `SizeClasses.end` is computed once, behind a check.
    @usableFromInline static let classCount = 41
}

/// The records of all threads in all heaps of this process.
///
/// A record belongs to its thread's list and to its heap's gate. It ends with its thread, or, once its heap is closed, when
/// its thread next makes one.
enum ThreadRecords {
    private static let lock = Mutex(())
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        // The value is never used but for being there: it makes the thread's end call us.
        pthread_key_create(&key) { _ in ThreadRecords.threadEnds() }
        ph_prepare()
        return key
    }()
    private static let lastHeap = Atomic<UInt64>(0)

    /// A number that no other heap of this process has.
    static func newHeapNumber() -> UInt64 { lastHeap.add(1, ordering: .relaxed).newValue }

    /// The calling thread's record in a heap, brought to the front; nil where it has none.
    static func find(_ heap: UInt64) -> ThreadRecord? {
        guard let first = ph_first() else { return nil }
        if ph_heap(first) == heap { return first }
        var last = first
        while let record = last.pointee.next {
            if ph_heap(record) == heap {
                last.pointee.next = record.pointee.next
                record.pointee.next = first
                ph_set_first(record)
                return record
            }
            last = record
        }
        return nil
    }

    /// Makes the calling thread's record in a heap.
    static func make(for space: HeapSpace) -> ThreadRecord {
        pthread_setspecific(key, UnsafeRawPointer(bitPattern: 1))
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        freeDead()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: ThreadCache.recordBytes, alignment: 64)
        memset(memory, 0, ThreadCache.recordBytes)
        let record = memory.assumingMemoryBound(to: ph_record.self)
        record.pointee.heap = space.number
        record.pointee.space = UnsafeRawPointer(Unmanaged.passUnretained(space).toOpaque())
        record.pointee.next = ph_first()
        ph_set_first(record)
        space.gate.add(record)
        return record
    }

    /// Frees the calling thread's records in heaps that were closed.
    private static func freeDead() {
        var kept: ThreadRecord?
        var next = ph_first()
        while let record = next {
            next = record.pointee.next
            if ph_heap(record) == 0 {
                UnsafeMutableRawPointer(record).deallocate()
            } else {
                record.pointee.next = kept
                kept = record
            }
        }
        ph_set_first(kept)
    }

    /// Runs `body` while no record begins or ends.
    static func withLock(_ body: () -> Void) {
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        body()
    }

    /// Ends all records of a heap; no thread may be in a change of it.
    static func end(_ space: HeapSpace) {
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        for record in space.gate.remove(heap: space.number) { ph_set_heap(record, 0) }
    }

    private static func threadEnds() {
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        while let record = ph_first() {
            ph_set_first(record.pointee.next)
            if ph_heap(record) != 0, let pointer = record.pointee.space {
                let space = Unmanaged<HeapSpace>.fromOpaque(pointer).takeUnretainedValue()
                space.endThread(record)
            }
            UnsafeMutableRawPointer(record).deallocate()
        }
    }
}
