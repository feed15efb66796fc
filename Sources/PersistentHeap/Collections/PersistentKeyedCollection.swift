/// A collection of a heap in which members are found by keys. Its count is stored beside what it counts, and a damaged heap may have
/// another one there: what goes by the count alone would trap.
public protocol PersistentKeyedCollection: Collection {}

extension PersistentKeyedCollection {
    /// What `transform` makes of each member, in order. The standard library's believes the count.
    @inlinable
    public func map<T, E>(_ transform: (Element) throws(E) -> T) throws(E) -> [T] {
        var result: [T] = []
        var iterator = makeIterator()
        while let element = iterator.next() { result.append(try transform(element)) }
        return result
    }
}
