/// A value that holds no collection: numbers, strings, bytes, and all `Persistable` types.
///
/// What comes out of a collection as such a value is a copy, which lives on without the heap. Collections are not: a value of
/// theirs shows what lies in the heap.
public protocol PersistentLeaf: PersistentValue {}
