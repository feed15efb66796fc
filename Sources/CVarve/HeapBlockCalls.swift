public import CVarveHeader
internal import Varve

@c @implementation
public func varve_heap_alloc(_ heap: varve_heap_t!, _ size: UInt64) -> UnsafeMutableRawPointer! {
    block { () throws(HeapError) in try allocate(heap, size, 16) }
}

@c @implementation
public func varve_heap_alloc_aligned(_ heap: varve_heap_t!, _ size: UInt64, _ alignment: UInt64) -> UnsafeMutableRawPointer! {
    block { () throws(HeapError) in try allocate(heap, size, alignment) }
}

@c @implementation
public func varve_heap_realloc(_ heap: varve_heap_t!, _ block: UnsafeMutableRawPointer!, _ size: UInt64) -> UnsafeMutableRawPointer! {
    CVarve.block { () throws(HeapError) in
        guard let block else { return try allocate(heap, size, 16) }
        let heap = try CVarve.heap(heap)
        return heap.space.base + (try heap.space.reallocate(try blockOffset(block, in: heap), byteCount: try byteCount(size, of: heap)))
    }
}

@c @implementation
public func varve_heap_free(_ heap: varve_heap_t!, _ block: UnsafeMutableRawPointer!) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        if let block { try heap.space.free(try blockOffset(block, in: heap)) }
    }
}

@c @implementation
public func varve_heap_usable_size(_ heap: varve_heap_t!, _ block: UnsafeRawPointer!, _ size: UnsafeMutablePointer<UInt64>!) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let size = try translating { () throws(StoreError) in try required(size, "size") }
        size.pointee = UInt64(try heap.space.usableSize(try blockOffset(block, in: heap)))
    }
}

@c @implementation
public func varve_heap_offset(_ heap: varve_heap_t!, _ place: UnsafeRawPointer!, _ offset: UnsafeMutablePointer<UInt64>!) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let result = try translating { () throws(StoreError) in try required(offset, "offset") }
        result.pointee = place == nil ? 0 : UInt64(try CVarve.offset(of: place, 0, in: heap))
    }
}

@c @implementation
public func varve_heap_at(_ heap: varve_heap_t!, _ offset: UInt64) -> UnsafeMutableRawPointer! {
    block { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        guard offset < UInt64(heap.capacity) else {
            throw HeapError(.invalid, "offset \(offset) is not within the heap of \(heap.capacity) bytes")
        }
        return offset == 0 ? nil : heap.space.base + Int(offset)
    }
}

private func allocate(_ handle: varve_heap_t?, _ size: UInt64, _ alignment: UInt64) throws(HeapError) -> UnsafeMutableRawPointer {
    let heap = try CVarve.heap(handle)
    return heap.space.base + (try heap.space.allocate(byteCount: try byteCount(size, of: heap), alignment: Int(clamping: alignment)))
}

private func byteCount(_ size: UInt64, of heap: PersistentHeap) throws(HeapError) -> Int {
    guard let count = Int(exactly: size) else {
        throw HeapError(.full, "a block of \(size) bytes is larger than the heap of \(heap.capacity) bytes")
    }
    return count
}

/// Where a block begins; 0, which no block does, for what is not in the heap.
private func blockOffset(_ block: UnsafeRawPointer?, in heap: PersistentHeap) throws(HeapError) -> Int {
    let distance = UInt(bitPattern: block) &- UInt(bitPattern: heap.space.base)
    guard distance < UInt(heap.capacity) else {
        throw HeapError(
            .notAllocated, "no block of the heap begins at 0x\(String(UInt(bitPattern: block), radix: 16))",
            advice: "Give what varve_heap_alloc returned, of this heap")
    }
    return Int(distance)
}
