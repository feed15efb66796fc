extension HeapSpace {
    /// Stops the program where a range is not within the heap, or the heap was closed.
    @inlinable @inline(__always)
    package func check(_ offset: Int, _ byteCount: Int) {
        let limit = bounds.pointee.limit
        guard byteCount <= limit, UInt(bitPattern: offset) <= UInt(bitPattern: limit - byteCount) else {
            outOfBounds(offset, byteCount)
        }
    }

    /// The value at an offset.
    @inlinable @inline(__always)
    package func load<T: BitwiseCopyable>(_ offset: Int, as type: T.Type = T.self) -> T {
        check(offset, MemoryLayout<T>.size)
        return base.loadUnaligned(fromByteOffset: offset, as: type)
    }

    /// Puts a value at an offset, and declares that: a change of its own, which waits while another thread commits or is in a
    /// transaction.
    @inlinable @inline(__always)
    package func store<T: BitwiseCopyable>(_ value: T, at offset: Int) {
        beginChange()
        defer { endChange() }
        // Within the change: the heap may have been closed meanwhile.
        check(offset, MemoryLayout<T>.size)
        willWrite(offset, MemoryLayout<T>.size)
        base.storeBytes(of: value, toByteOffset: offset, as: T.self)
    }

    /// The bytes of a range, valid as long as they stay allocated.
    @inlinable @inline(__always)
    package func bytes(_ offset: Int, _ byteCount: Int) -> UnsafeRawBufferPointer {
        check(offset, byteCount)
        return UnsafeRawBufferPointer(start: base + offset, count: byteCount)
    }

    /// The bytes of a range, to be written: declares all of them.
    @inlinable @inline(__always)
    package func mutableBytes(_ offset: Int, _ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        check(offset, byteCount)
        willWrite(offset, byteCount)
        return UnsafeMutableRawBufferPointer(start: base + offset, count: byteCount)
    }

    /// Declares that a range is about to be written, for `commit(declaredOnly:)`. Costs a load where its page was declared.
    ///
    /// Stops the program where the heap is read-only. The range must be within the heap.
    @inlinable @inline(__always)
    package func willWrite(_ offset: Int, _ byteCount: Int) {
        let first = offset >> 12
        let last = (offset &+ byteCount &- 1) >> 12
        if first == last, declared[first] != 0 { return }
        declare(first, last)
    }

    @usableFromInline @inline(never)
    func declare(_ first: Int, _ last: Int) {
        guard !isReadOnly else { preconditionFailure("A heap that shows a past state, or is open for reading, was written to") }
        guard first >= 0, last < tables.pageCount else { outOfBounds(first << 12, (last - first + 1) << 12) }
        guard first <= last else { return }
        for page in first...last where declared[page] == 0 { tables.declare(page) }
    }

    @usableFromInline @inline(never)
    func outOfBounds(_ offset: Int, _ byteCount: Int) -> Never {
        if isClosed { preconditionFailure("A heap was used after it was closed") }
        preconditionFailure("\(byteCount) bytes at offset \(offset) are not within the heap of \(geometry.capacity) bytes")
    }

    // MARK: The heap's own fields

    func header(_ field: Int) -> Int { base.load(fromByteOffset: field, as: Int.self) }

    func setHeader(_ field: Int, _ value: Int) {
        willWrite(field, 8)
        base.storeBytes(of: value, toByteOffset: field, as: Int.self)
    }

    /// Says what units are.
    func setUnits(_ start: Int, _ count: Int, first: UInt8, rest: UInt8) {
        guard count > 0 else { return }
        willWrite(geometry.table + start, count)
        table[start] = first
        if count > 1 { table.advanced(by: start + 1).update(repeating: rest, count: count - 1) }
    }
}
