extension PersistentArray: RandomAccessCollection {
    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { count }

    /// Reads the elements in order. One that was added or taken out meanwhile is seen or not, as its index has it.
    @frozen
    public struct Iterator: IteratorProtocol {
        @usableFromInline let array: PersistentArray
        @usableFromInline var index = 0

        @inlinable init(_ array: PersistentArray) { self.array = array }

        @inlinable
        public mutating func next() -> Element? {
            guard index < array.count else { return nil }
            defer { index &+= 1 }
            return array[index]
        }
    }

    @inlinable public func makeIterator() -> Iterator { Iterator(self) }

    @inlinable
    public func withContiguousStorageIfAvailable<Result>(
        _ body: (UnsafeBufferPointer<Element>) throws -> Result
    ) rethrows -> Result? {
        guard Element.self == Element.Stored.self else { return nil }
        let count = count
        let start = count == 0 ? nil : UnsafeRawPointer(space.base + storage).assumingMemoryBound(to: Element.self)
        return try body(UnsafeBufferPointer(start: start, count: count))
    }
}

/// A copy of the value shows the same array: changing elements through one changes them for all.
extension PersistentArray: MutableCollection where Element: PersistentLeaf {}

extension PersistentArray where Element: Persistable {
    /// Calls `body` with the elements of a range, to change them in place at the speed of memory. The range is declared as
    /// written, all of it. The elements are valid until `body` returns; it must not change the array otherwise. It is a change, as
    /// `PersistentHeap.changing` is: keep it short, and wait for nothing in it, other threads that change the heap least of all.
    @inlinable
    public func withMutableElements<Result, Failure: Error>(
        in range: Range<Int>, _ body: (inout MutableSpan<Element>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        space.beginChange()
        defer { space.endChange() }
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "Range out of bounds")
        let start = storage &+ range.lowerBound &* Self.stride
        if !range.isEmpty { space.willWrite(start, range.count &* Self.stride) }
        var span = MutableSpan<Element>(
            _unsafeElements: UnsafeMutableBufferPointer(
                start: (space.base + start).assumingMemoryBound(to: Element.self), count: range.count))
        return try body(&span)
    }
}

extension PersistentArray: Equatable where Element: Equatable {
    /// Whether the elements are equal, in order; the arrays may lie in different heaps and versions.
    @inlinable
    public static func == (left: Self, right: Self) -> Bool { left.count == right.count && left.elementsEqual(right) }
}

extension PersistentArray: CustomStringConvertible {
    public var description: String { "[" + map { String(reflecting: $0) }.joined(separator: ", ") + "]" }
}
