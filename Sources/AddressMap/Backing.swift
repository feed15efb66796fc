public import VMTypes

/// What an entry's bytes come from.
public enum Backing: Hashable, Sendable {
    /// Private memory that no object holds yet: every byte reads as zero.
    case zeroFill
    /// A memory object; `offset`, in bytes and page-aligned, is where the entry's first byte lies in it.
    case object(ObjectID, offset: UInt64)

    /// The object, or nil for memory that no object holds yet.
    public var object: ObjectID? {
        switch self {
        case .zeroFill: nil
        case .object(let object, _): object
        }
    }

    /// Where the entry's first byte lies in the object, in bytes; 0 where there is no object.
    public var offset: UInt64 {
        switch self {
        case .zeroFill: 0
        case .object(_, let offset): offset
        }
    }

    /// The backing of the byte that lies `bytes` further on.
    ///
    /// The sum must fit in 64 bits; it does within an entry, which ``AddressMap/insert(_:)`` checks.
    public func advanced(by bytes: UInt64) -> Backing {
        switch self {
        case .zeroFill: .zeroFill
        case .object(let object, let offset): .object(object, offset: offset + bytes)
        }
    }
}
