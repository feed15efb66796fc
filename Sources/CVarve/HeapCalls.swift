public import CVarveHeader
internal import Varve

@c @implementation
public func varve_heap_open(
    _ path: UnsafePointer<CChar>!, _ capacity: UInt64, _ heap: UnsafeMutablePointer<varve_heap_t?>!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let path = try translating { () throws(StoreError) in try text(path, "the path") }
        try give(heap) { () throws(HeapError) in try PersistentHeap.open(path, options: options(capacity)) }
    }
}

@c @implementation
public func varve_heap_open_in(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ capacity: UInt64, _ heap: UnsafeMutablePointer<varve_heap_t?>!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let (store, name) = try translating { () throws(StoreError) in
            (try CVarve.store(store), try text(name, "the heap's name"))
        }
        try give(heap) { () throws(HeapError) in try PersistentHeap.open(in: store, options: options(capacity, name: name)) }
    }
}

private func options(_ capacity: UInt64, name: String = "heap") -> PersistentHeap.Options {
    var options = PersistentHeap.Options(name: name)
    if capacity != 0 { options.capacity = Int(clamping: capacity) }
    return options
}

/// Opens a heap and puts a handle of it where `result` says.
private func give(
    _ result: UnsafeMutablePointer<varve_heap_t?>?, _ open: () throws(HeapError) -> PersistentHeap
) throws(HeapError) {
    let result = try translating { () throws(StoreError) in
        try requireNoFork()
        return try required(result, "heap")
    }
    let opened = try open()
    do throws(StoreError) { result.pointee = try newHandle(HeapHandle(opened)) } catch {
        try? opened.close()
        throw HeapError(error)
    }
}

@c @implementation
public func varve_heap_close(_ heap: varve_heap_t!) -> Int32 {
    heapCode { () throws(HeapError) in try closeHeap(heap) }
}

@c @implementation
public func varve_heap_info(_ heap: varve_heap_t!, _ info: UnsafeMutablePointer<varve_heap_info_t>!) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let info = try translating { () throws(StoreError) in try required(info, "info") }
        guard info.pointee.size >= UInt64(MemoryLayout<varve_heap_info_t>.size) else {
            throw HeapError(.invalid, "info->size is \(info.pointee.size)", advice: "Set it to sizeof(varve_heap_info_t)")
        }
        info.pointee = varve_heap_info_t(
            size: UInt64(MemoryLayout<varve_heap_info_t>.size), capacity: UInt64(heap.capacity), base: heap.space.base,
            roots: UInt64(heap.rootNames.count), read_only: heap.isReadOnly ? 1 : 0, relocated: heap.isRelocated ? 1 : 0)
    }
}

// MARK: Commits

@c @implementation
public func varve_heap_declare(_ heap: varve_heap_t!, _ start: UnsafeRawPointer!, _ size: UInt64) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let offset = try offset(of: start, size, in: heap)
        try heap.space.requireWritable()
        if size > 0 { heap.space.changing { heap.space.willWrite(offset, Int(size)) } }
    }
}

@c @implementation
public func varve_heap_commit(
    _ heap: varve_heap_t!, _ message: UnsafePointer<CChar>!, _ flags: UInt32, _ snapshot: UnsafePointer<CChar>!,
    _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        try requireCommitFlags(flags)
        let (message, snapshot) = try translating { () throws(StoreError) in
            (try CVarve.message(message), try optionalText(snapshot, "the snapshot's name"))
        }
        let made = try heap.commit(
            message: message, durability: durability(flags), declaredOnly: isDeclared(flags), snapshot: snapshot)
        version?.pointee = made.rawValue
    }
}

@c @implementation
public func varve_heap_abandon(_ heap: varve_heap_t!) -> Int32 {
    heapCode { () throws(HeapError) in try CVarve.heap(heap).abandon() }
}

// MARK: Transactions and the past

/// The body of a transaction said no.
private struct Aborted: Error {}

@c @implementation
public func varve_heap_transaction(
    _ heap: varve_heap_t!, _ message: UnsafePointer<CChar>!, _ flags: UInt32,
    _ body: (@convention(c) (UnsafeMutableRawPointer?) -> Int32)!, _ context: UnsafeMutableRawPointer!
) -> Int32 {
    var isAborted = false
    let code = heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        try requireCommitFlags(flags)
        let (message, body) = try translating { () throws(StoreError) in
            (try CVarve.message(message), try required(body, "body"))
        }
        do {
            try heap.transaction(message: message, durability: durability(flags), declaredOnly: isDeclared(flags)) {
                guard body(context) == 0 else { throw Aborted() }
            }
        } catch let error as HeapError {
            throw error
        } catch {
            isAborted = true
        }
    }
    return isAborted ? LastError.recordAborted() : code
}

@c @implementation
public func varve_heap_begin(_ heap: varve_heap_t!, _ flags: UInt32) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        try requireCommitFlags(flags)
        try heap.beginTransaction(declaredOnly: isDeclared(flags))
    }
}

@c @implementation
public func varve_heap_end(
    _ heap: varve_heap_t!, _ message: UnsafePointer<CChar>!, _ flags: UInt32, _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let text: String
        do throws(HeapError) {
            try requireCommitFlags(flags)
            text = try translating { () throws(StoreError) in try CVarve.message(message) }
        } catch {
            // It is over, whatever is returned.
            try heap.abandonTransaction()
            throw error
        }
        let made = try heap.commitTransaction(message: text, durability: durability(flags), declaredOnly: isDeclared(flags))
        version?.pointee = made?.rawValue ?? 0
    }
}

@c @implementation
public func varve_heap_cancel(_ heap: varve_heap_t!) -> Int32 {
    heapCode { () throws(HeapError) in try CVarve.heap(heap).abandonTransaction() }
}

private func durability(_ flags: UInt32) -> PersistentHeap.Durability {
    flags & UInt32(VARVE_COMMIT_DEFERRED) != 0 ? .deferred : .synced
}

private func isDeclared(_ flags: UInt32) -> Bool { flags & UInt32(VARVE_COMMIT_DECLARED) != 0 }

private func requireCommitFlags(_ flags: UInt32) throws(HeapError) {
    guard flags & ~UInt32(VARVE_COMMIT_DEFERRED | VARVE_COMMIT_DECLARED) == 0 else {
        throw HeapError(.invalid, "0x\(String(flags, radix: 16)) are no flags of a commit", advice: "Give VARVE_COMMIT_*")
    }
}

@c @implementation
public func varve_heap_snapshot(
    _ heap: varve_heap_t!, _ name: UnsafePointer<CChar>!, _ message: UnsafePointer<CChar>!, _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        try heap.space.requireWritable()
        let made = try translating { () throws(StoreError) in
            try heap.store.createSnapshot(try text(name, "the snapshot's name"), message: try CVarve.message(message))
        }
        version?.pointee = made.version.rawValue
    }
}

@c @implementation
public func varve_heap_rollback(
    _ heap: varve_heap_t!, _ state: UnsafePointer<CChar>!, _ message: UnsafePointer<CChar>!, _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let (state, message) = try translating { () throws(StoreError) in (try CVarve.state(state), try CVarve.message(message)) }
        let made = try heap.rollback(to: state, message: message)
        version?.pointee = made.rawValue
    }
}

@c @implementation
public func varve_heap_past(
    _ heap: varve_heap_t!, _ state: UnsafePointer<CChar>!, _ past: UnsafeMutablePointer<varve_heap_t?>!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let state = try translating { () throws(StoreError) in try CVarve.state(state) }
        try give(past) { () throws(HeapError) in try heap.at(state) }
    }
}

@c @implementation
public func varve_heap_open_past(
    _ path: UnsafePointer<CChar>!, _ state: UnsafePointer<CChar>!, _ past: UnsafeMutablePointer<varve_heap_t?>!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let (path, state) = try translating { () throws(StoreError) in (try text(path, "the path"), try CVarve.state(state)) }
        try give(past) { () throws(HeapError) in try PersistentHeap.open(path, at: state) }
    }
}
