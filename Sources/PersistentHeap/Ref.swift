/// A typed reference to a value in a heap: 8 bytes, the same wherever the heap is mapped; itself `Persistable`.
///
/// A reference says nothing of the heap that it belongs to: the heap is named to follow it.
///
/// ```swift
/// struct Node: Persistable {
///     var value: Int
///     var next: Ref<Node>?
/// }
/// let first = try heap.make(Node(value: 1, next: nil))
/// heap[first].value += 1
/// try heap.free(first)
/// ```
@frozen public struct Ref<Value: Persistable>: Persistable, Hashable, Sendable {
    /// Bytes from the heap's base.
    public let offset: Int

    @inlinable public init(offset: Int) { self.offset = offset }

    // Named, not looked into: a type may refer to itself.
    public static var layout: TypeLayout { TypeLayout(scalar: Self.self, name: "Ref<\(Value.self)>") }
}

/// The value of a root: a place in the heap that has a name.
///
/// Writing it declares the write; an access that changes it in place ends on the thread on which it began: no `await` within. One thread at a time, as with any variable; `PersistentHeap` says how threads share a heap.
public struct Root<Value: Persistable>: @unchecked Sendable {
    @usableFromInline package let space: HeapSpace
    /// Where the value lies.
    public let ref: Ref<Value>

    @usableFromInline package init(space: HeapSpace, ref: Ref<Value>) {
        self.space = space
        self.ref = ref
    }

    /// The value as it is in the heap now.
    ///
    /// Setting it is a change of its own, as `changing` is: it waits while another thread commits or is in a transaction.
    /// Setting it in a heap that was closed or is read-only stops the program.
    @inlinable public var value: Value {
        get { space.load(ref.offset) }
        nonmutating set { space.store(newValue, at: ref.offset) }
        nonmutating _modify {
            space.beginChange()
            defer { space.endChange() }
            space.check(ref.offset, MemoryLayout<Value>.size)
            space.willWrite(ref.offset, MemoryLayout<Value>.size)
            yield &(space.base + ref.offset).assumingMemoryBound(to: Value.self).pointee
        }
    }
}
