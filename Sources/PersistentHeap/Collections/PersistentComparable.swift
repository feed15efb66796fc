/// A key of a sorted map: it is ordered alike in every process.
///
/// A `Persistable` type that is `Comparable` conforms by saying so. The order must be total, and must not change while a map
/// holds keys of the type.
public protocol PersistentComparable: PersistentLeaf, Comparable {
    /// How a stored key stands to this one: less than 0 where it is ordered before, 0 where it is equal, else more.
    func order(ofStored stored: Stored, in space: HeapSpace) -> Int
}

extension PersistentComparable {
    @inlinable @inline(__always)
    public func order(ofStored stored: Stored, in space: HeapSpace) -> Int {
        let other = Self.load(stored, in: space)
        return other < self ? -1 : other == self ? 0 : 1
    }
}
