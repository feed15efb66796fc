public import CVarveHeader
internal import Glibc
internal import Varve

@c @implementation
public func varve_heap_root(
    _ heap: varve_heap_t!, _ name: UnsafePointer<CChar>!, _ type: UnsafePointer<CChar>!, _ version: UInt32, _ size: UInt64,
    _ place: UnsafeMutableRawPointer!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let (name, type, place) = try translating { () throws(StoreError) in
            (try text(name, "the root's name"), try text(type, "the type's name"), try required(place, "place"))
        }
        guard size > 0, size <= UInt64(heap.capacity) else {
            throw HeapError(.invalid, "no root has \(size) bytes", advice: "Give sizeof its type")
        }
        let offset = try heap.rawRoot(name, layouts: try layouts(type, size), byteCount: Int(size), version: Int(version)).offset
        place.storeBytes(of: heap.space.base + offset, as: UnsafeMutableRawPointer?.self)
    }
}

/// The layouts of a type of C's: numbers are Swift's.
private func layouts(_ type: String, _ size: UInt64) throws(HeapError) -> [String] {
    let number: (size: UInt64, names: [String])? =
        switch type {
        case "int8_t": (1, ["Int8"])
        case "int16_t": (2, ["Int16"])
        case "int32_t": (4, ["Int32"])
        case "int64_t": (8, ["Int64", "Int"])
        case "uint8_t": (1, ["UInt8"])
        case "uint16_t": (2, ["UInt16"])
        case "uint32_t": (4, ["UInt32"])
        case "uint64_t": (8, ["UInt64", "UInt"])
        case "float": (4, ["Float"])
        case "double": (8, ["Double"])
        case "bool": (1, ["Bool"])
        default: nil
        }
    guard let number else { return ["\(type)[\(size) bytes]"] }
    guard number.size == size else {
        throw HeapError(.invalid, "\(type) has \(number.size) bytes, not \(size)", advice: "Name the type whose size it is")
    }
    return number.names
}

/// The value of a root of bytes.
private struct BytesValue: BitwiseCopyable {
    /// The block of the bytes, or 0.
    var block: Int
    var count: Int

    static let layouts = ["Bytes{block@0: Int, count@8: Int}"]
}

/// Where the value of a root of bytes lies, and whether this call made it.
private func bytesRoot(_ heap: PersistentHeap, _ name: String, _ version: UInt32) throws(HeapError) -> (offset: Int, isNew: Bool) {
    try heap.rawRoot(name, layouts: BytesValue.layouts, byteCount: MemoryLayout<BytesValue>.size, version: Int(version))
}

/// What a root of bytes says, where it can be true.
private func bytesValue(_ heap: PersistentHeap, _ offset: Int) throws(HeapError) -> BytesValue {
    let value: BytesValue = heap.space.load(offset)
    let room = value.block == 0 ? 0 : heap.space.knownBlock(at: value.block) ?? -1
    guard (0...max(0, room)).contains(value.count), room >= 0 else {
        throw HeapError(
            .damaged, "a root of bytes says \(value.count) bytes at offset \(value.block), where they are not",
            advice: "Run `varve heap check`")
    }
    return value
}

/// Gives a root of bytes another length.
private func resize(_ heap: PersistentHeap, _ offset: Int, to size: UInt64) throws(HeapError) -> BytesValue {
    try heap.space.requireWritable()
    guard let count = Int(exactly: size), count <= heap.capacity else {
        throw HeapError(.full, "\(size) bytes are more than the heap of \(heap.capacity) bytes can hold")
    }
    return try heap.space.changing { () throws(HeapError) in
        var value = try bytesValue(heap, offset)
        if count == 0 {
            if value.block != 0 { try heap.space.free(value.block) }
            value = BytesValue(block: 0, count: 0)
        } else {
            value.block =
                value.block == 0
                ? try heap.space.allocate(byteCount: count) : try heap.space.reallocate(value.block, byteCount: count)
            if count > value.count {
                memset(heap.space.mutableBytes(value.block + value.count, count - value.count).baseAddress!, 0, count - value.count)
            }
            value.count = count
        }
        heap.space.store(value, at: offset)
        return value
    }
}

private func show(_ value: BytesValue, of heap: PersistentHeap, at place: UnsafeMutableRawPointer?) {
    place?.storeBytes(of: value.block == 0 ? nil : heap.space.base + value.block, as: UnsafeMutableRawPointer?.self)
}

@c @implementation
public func varve_heap_bytes(
    _ heap: varve_heap_t!, _ name: UnsafePointer<CChar>!, _ version: UInt32, _ size: UnsafeMutablePointer<UInt64>!,
    _ place: UnsafeMutableRawPointer!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let (name, size, place) = try translating { () throws(StoreError) in
            (try text(name, "the root's name"), try required(size, "size"), try required(place, "place"))
        }
        // No other thread finds the new root before its bytes.
        let value = try heap.excludingChanges { () throws(HeapError) in
            let (offset, isNew) = try bytesRoot(heap, name, version)
            return isNew && size.pointee > 0 ? try resize(heap, offset, to: size.pointee) : try bytesValue(heap, offset)
        }
        size.pointee = UInt64(value.count)
        show(value, of: heap, at: place)
    }
}

@c @implementation
public func varve_heap_bytes_resize(
    _ heap: varve_heap_t!, _ name: UnsafePointer<CChar>!, _ version: UInt32, _ size: UInt64, _ place: UnsafeMutableRawPointer!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let name = try translating { () throws(StoreError) in try text(name, "the root's name") }
        show(try resize(heap, try bytesRoot(heap, name, version).offset, to: size), of: heap, at: place)
    }
}

@c @implementation
public func varve_heap_root_list(
    _ heap: varve_heap_t!, _ visitor: varve_heap_root_visitor_t!, _ context: UnsafeMutableRawPointer!
) -> Int32 {
    heapCode { () throws(HeapError) in
        let heap = try CVarve.heap(heap)
        let visitor = try translating { () throws(StoreError) in try required(visitor, "visitor") }
        for root in try heap.rootRecords() {
            let answer = root.name.withCString { name in
                root.layout.withCString { type in
                    var shown = varve_heap_root_t(
                        name: name, type: type, version: UInt32(root.version), collection: root.isContainer ? 1 : 0,
                        offset: UInt64(root.offset))
                    return visitor(context, &shown)
                }
            }
            if answer != 0 { return }
        }
    }
}
