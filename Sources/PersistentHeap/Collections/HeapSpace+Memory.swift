/// The loads and stores of the collections.
///
/// Invariant: an offset that comes here lies inside the heap, with the bytes after it, and is aligned for what is loaded:
/// it was given by the allocator, or was checked by `holds` when it was read from stored bytes, or is that of a detached
/// header, whose bytes nobody writes.
extension HeapSpace {
    /// Bytes from the base that may be accessed; 0 once the heap was closed.
    @inlinable @inline(__always) var byteCount: Int { bounds.pointee.limit }

    /// The bytes at an offset as a value.
    @inlinable @inline(__always)
    func read<T: BitwiseCopyable>(_ offset: Int, as type: T.Type = T.self) -> T {
        UnsafeRawPointer(base + offset).load(as: T.self)
    }

    /// Declares and stores a value.
    @inlinable @inline(__always)
    func write<T: BitwiseCopyable>(_ value: T, at offset: Int) {
        willWrite(offset, MemoryLayout<T>.size)
        (base + offset).storeBytes(of: value, as: T.self)
    }

    /// Stores a value in a range that was declared.
    @inlinable @inline(__always)
    func writeDeclared<T: BitwiseCopyable>(_ value: T, at offset: Int) {
        (base + offset).storeBytes(of: value, as: T.self)
    }

    /// Declares the destination and copies bytes, which may overlap.
    @inlinable
    func copyBytes(from source: Int, to destination: Int, byteCount: Int) {
        guard byteCount > 0 else { return }
        willWrite(destination, byteCount)
        (base + destination).copyMemory(from: base + source, byteCount: byteCount)
    }

    /// Declares a range and fills it with zeros.
    @inlinable
    func zeroBytes(_ offset: Int, _ byteCount: Int) {
        guard byteCount > 0 else { return }
        willWrite(offset, byteCount)
        (base + offset).initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    }

    /// Declares a range and fills it from memory outside of the heap.
    @inlinable
    func fillBytes(_ offset: Int, from bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        willWrite(offset, bytes.count)
        (base + offset).copyMemory(from: source, byteCount: bytes.count)
    }

    /// Whether a range that stored bytes name may be looked at.
    @inlinable
    func holds(_ offset: Int, _ byteCount: Int, alignment: Int) -> Bool {
        offset > 0 && byteCount >= 0 && byteCount <= self.byteCount && offset <= self.byteCount &- byteCount
            && offset & (alignment &- 1) == 0
    }

    /// The bytes of a range.
    @inlinable
    func copyOfBytes(_ offset: Int, _ byteCount: Int) -> [UInt8] {
        [UInt8](UnsafeRawBufferPointer(start: base + offset, count: byteCount))
    }
}
