internal import CVarveHeader
internal import Varve

/// What a handle of a heap names.
final class HeapHandle: Sendable {
    let heap: PersistentHeap
    init(_ heap: PersistentHeap) { self.heap = heap }
}

func heap(_ handle: OpaquePointer?) throws(HeapError) -> PersistentHeap {
    if let found = HandleTable.shared.object(handle.map { UnsafeRawPointer($0) }) as? HeapHandle { return found.heap }
    throw invalidHeap(handle)
}

/// Closes a heap and ends its handle; one of several threads that close it does. Within a transaction both stay.
func closeHeap(_ handle: OpaquePointer?) throws(HeapError) {
    let heap = try heap(handle)
    do throws(HeapError) { try heap.close() } catch {
        if error.code != .wrongState { try endHeap(handle) }
        throw error
    }
    try endHeap(handle)
}

private func endHeap(_ handle: OpaquePointer?) throws(HeapError) {
    guard let handle, HandleTable.shared.remove(UnsafeRawPointer(handle), where: { $0 is HeapHandle }) else {
        throw invalidHeap(handle)
    }
}

private func invalidHeap(_ handle: OpaquePointer?) -> HeapError {
    HeapError(invalid(handle, "a heap"))
}

/// The offset of a range of the heap.
func offset(of start: UnsafeRawPointer?, _ size: UInt64, in heap: PersistentHeap) throws(HeapError) -> Int {
    let distance = UInt(bitPattern: start) &- UInt(bitPattern: heap.space.base)
    let capacity = UInt(heap.capacity)
    guard distance < capacity, size <= UInt64(capacity - distance) else {
        throw HeapError(
            .invalid, "\(size) bytes at 0x\(String(UInt(bitPattern: start), radix: 16)) are not within the heap",
            advice: "Give a place in the heap's own memory")
    }
    return Int(distance)
}

/// Runs a call on a heap and answers its code.
@inline(__always) func heapCode(_ body: () throws(HeapError) -> Void) -> Int32 {
    do throws(HeapError) {
        try body()
        return 0
    } catch {
        return LastError.record(error)
    }
}

/// Runs a call on a heap that answers a place, or NULL where it fails.
@inline(__always) func block(_ body: () throws(HeapError) -> UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    do throws(HeapError) { return try body() } catch {
        _ = LastError.record(error)
        return nil
    }
}

/// Runs what fails as the store does.
func translating<Result>(_ body: () throws(StoreError) -> Result) throws(HeapError) -> Result {
    do throws(StoreError) { return try body() } catch { throw HeapError(error) }
}
