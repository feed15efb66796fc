/// A type whose values can lie in a heap as they are: of fixed size, and without anything that means nothing in another
/// process, such as references, functions, metatypes and pointers out of the heap.
///
/// Declaring the conformance is enough where every stored property is `Persistable`:
///
/// ```swift
/// struct Account: Persistable {
///     var number: Int
///     var balance: Double
///     var isOpen: Bool
/// }
///
/// enum Colour: UInt8, CaseIterable, Persistable { case red, green, blue }
/// ```
///
/// The compiler refuses what is not `BitwiseCopyable`. What that lets through (function pointers, `Unmanaged`) is found when
/// a root of the type is opened, which throws `.unsuitableType` and names the property. An enumeration whose cases carry
/// values needs a `layout` written by hand, as does a type in a program built without reflection metadata.
///
/// Raw pointers may be part of such a type where they point into the same heap: they are valid in every process that has the
/// heap at its home address, and refused where it is mapped elsewhere. `Ref` has no such limit.
public protocol Persistable: BitwiseCopyable, PersistentLeaf where Stored == Self {
    /// What is recorded of the type with each root, and compared when the root is opened.
    static var layout: TypeLayout { get }
}

extension Persistable {
    public static var layout: TypeLayout { TypeLayout(reflecting: Self.self) }

    @inlinable public static func store(_ value: Self, in space: HeapSpace) throws(HeapError) -> Self { value }
    @inlinable public static func load(_ stored: Self, in space: HeapSpace) -> Self { stored }
    @inlinable public static func release(_ stored: Self, in space: HeapSpace) throws(HeapError) {}
    @inlinable public static var ownsMemory: Bool { false }
}

extension Persistable where Self: CaseIterable {
    public static var layout: TypeLayout { TypeLayout(cases: Self.self) }
}

/// What a collection in a heap can hold: values that lie there as they are (`Persistable`), and values that own memory of
/// the heap: strings, other collections.
///
/// A value has a form in which it lies in the heap, `Stored`, of fixed size: itself, a handle, a reference to bytes.
public protocol PersistentValue {
    associatedtype Stored: BitwiseCopyable

    /// What is recorded of the type.
    static var layout: TypeLayout { get }
    /// Whether `store` takes memory of the heap that `release` gives back.
    static var ownsMemory: Bool { get }
    /// The form in which a value lies in the heap; takes the memory that it needs.
    static func store(_ value: Self, in space: HeapSpace) throws(HeapError) -> Stored
    /// The value that lies there.
    static func load(_ stored: Stored, in space: HeapSpace) -> Self
    /// Gives back the memory that the stored form owns; it is not used afterwards.
    static func release(_ stored: Stored, in space: HeapSpace) throws(HeapError)
    /// Whether the stored form stands for this very value, so that putting it there again changes nothing: a collection's handle.
    static func isSame(_ value: Self, as stored: Stored, in space: HeapSpace) -> Bool
}

extension PersistentValue {
    @inlinable @inline(__always) public static func isSame(_ value: Self, as stored: Stored, in space: HeapSpace) -> Bool { false }
}

/// Where a collection lies in its heap: the offset of its first block, or 0 for none.
@frozen public struct ContainerHandle: Persistable, Hashable, Sendable {
    public let offset: Int

    @inlinable public init(offset: Int) { self.offset = offset }

    public static var layout: TypeLayout { TypeLayout(scalar: Self.self) }
}

/// A collection that lies in a heap; a value of the type is bound to that heap, and changes the collection in place.
///
/// What stands for it elsewhere in the heap is its handle, so that one collection can be an element of another, which owns it:
/// taking the element out releases the collection, with all that it holds. A collection has one owner at most; one that no
/// collection and no root owns is the program's to release. One of another heap, or of a past state, is refused (`.invalid`).
public protocol PersistentContainer: PersistentValue where Stored == ContainerHandle {
    /// Makes an empty collection.
    static func create(in space: HeapSpace) throws(HeapError) -> Self
    /// The collection that lies there. Throws `.damaged` where what is there can't be one.
    init(validating handle: ContainerHandle, in space: HeapSpace) throws(HeapError)
    /// Frees the collection with all that it holds. No value that shows it may be used afterwards.
    func release() throws(HeapError)
    /// The heap that it lies in.
    var space: HeapSpace { get }
    /// Where it lies in the heap.
    var handle: ContainerHandle { get }
    /// Looks for each of its keys: a sentence for each that is there and is not found.
    func checkKeys() -> [String]
}

extension PersistentContainer {
    /// A handle says where a collection lies, and not in which heap: another heap has others in the same place.
    @inlinable
    public static func isSame(_ value: Self, as stored: ContainerHandle, in space: HeapSpace) -> Bool {
        value.handle == stored && value.space === space
    }
}
