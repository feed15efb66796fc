public import PageStore
public import VMTypes

/// What vm_map takes for an object: an object itself (all rights), an `ObjectPort` (fewer), a `MemoryEntry`, or a
/// `ManagedObject`.
public protocol MemoryPort: Sendable {
    /// What the port gives the right to.
    var right: MemoryRight { get }
}

/// The right to map some memory: of what, and for which accesses.
public struct MemoryRight: Sendable {
    enum Kind: Sendable {
        case object(ObjectID, name: String)
        case entry(MemoryEntry)
        case managed(ObjectID, Store)
    }

    let kind: Kind
    /// The accesses that a mapping may ever allow.
    public let rights: Protection

    /// The right to no memory object: INVALID_OBJECT to whoever maps it. No object has the number 0.
    public static let none = MemoryRight(kind: .object(ObjectID(0), name: ""), rights: .all)
}

/// An object with fewer rights than its owner has, to hand on: a mapping through it whose current or maximum protection
/// exceeds `rights` is PROTECTION_FAILURE; a copy needs read alone.
public struct ObjectPort: MemoryPort, Hashable {
    public let object: ObjectID
    /// The object's name when the port was made.
    public let name: String
    public let rights: Protection

    public var right: MemoryRight { MemoryRight(kind: .object(object, name: name), rights: rights) }
}

extension ObjectInfo: MemoryPort {
    public var right: MemoryRight { MemoryRight(kind: .object(id, name: name), rights: .all) }
}

extension Store {
    /// A port to an object that permits `rights`; bits outside read, write and execute permit nothing.
    public func port(to object: ObjectInfo, rights: Protection) -> ObjectPort {
        ObjectPort(object: object.id, name: object.name, rights: rights.intersection(.all))
    }
}
