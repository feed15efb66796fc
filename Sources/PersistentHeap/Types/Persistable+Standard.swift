extension Int: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension Int8: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension Int16: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension Int32: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension Int64: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension Int128: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension UInt: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension UInt8: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension UInt16: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension UInt32: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension UInt64: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension UInt128: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension Float: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension Double: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension Bool: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self) } }
extension Unicode.Scalar: Persistable { public static var layout: TypeLayout { TypeLayout(scalar: self, name: "Unicode.Scalar") } }

extension Optional: PersistentValue, PersistentLeaf where Wrapped: Persistable {
    public typealias Stored = Self
}
extension Optional: Persistable where Wrapped: Persistable {
    public static var layout: TypeLayout { TypeLayout(Self.self, name: "Optional", parameters: [Wrapped.layout]) }
}

extension InlineArray: PersistentValue, PersistentLeaf where Element: Persistable {
    public typealias Stored = Self
}
extension InlineArray: Persistable where Element: Persistable {
    public static var layout: TypeLayout {
        TypeLayout(Self.self, name: "InlineArray<\(count)>", parameters: [Element.layout])
    }
}

// Pointers into the heap itself, valid at its home address.

extension UnsafeRawPointer: Persistable {
    public static var layout: TypeLayout { TypeLayout(pointer: self, name: "UnsafeRawPointer") }
}
extension UnsafeMutableRawPointer: Persistable {
    public static var layout: TypeLayout { TypeLayout(pointer: self, name: "UnsafeMutableRawPointer") }
}
// Named, not looked into: a type may point to itself.
extension UnsafePointer: PersistentValue, PersistentLeaf where Pointee: Persistable {
    public typealias Stored = Self
}
extension UnsafePointer: Persistable where Pointee: Persistable {
    public static var layout: TypeLayout { TypeLayout(pointer: self, name: "UnsafePointer<\(Pointee.self)>") }
}
extension UnsafeMutablePointer: PersistentValue, PersistentLeaf where Pointee: Persistable {
    public typealias Stored = Self
}
extension UnsafeMutablePointer: Persistable where Pointee: Persistable {
    public static var layout: TypeLayout { TypeLayout(pointer: self, name: "UnsafeMutablePointer<\(Pointee.self)>") }
}
