/// A number that vectors in a heap are made of.
public protocol PersistableScalar: SIMDScalar, Persistable, Codable, Hashable
where SIMD2Storage: BitwiseCopyable, SIMD4Storage: BitwiseCopyable, SIMD8Storage: BitwiseCopyable, SIMD16Storage: BitwiseCopyable {}

extension Int: PersistableScalar {}
extension Int8: PersistableScalar {}
extension Int16: PersistableScalar {}
extension Int32: PersistableScalar {}
extension Int64: PersistableScalar {}
extension UInt: PersistableScalar {}
extension UInt8: PersistableScalar {}
extension UInt16: PersistableScalar {}
extension UInt32: PersistableScalar {}
extension UInt64: PersistableScalar {}
extension Float: PersistableScalar {}
extension Double: PersistableScalar {}

extension SIMD2: PersistentValue, PersistentLeaf where Scalar: PersistableScalar { public typealias Stored = Self }
extension SIMD2: Persistable where Scalar: PersistableScalar {
    public static var layout: TypeLayout { TypeLayout(Self.self, name: "SIMD2", parameters: [Scalar.layout]) }
}
extension SIMD3: PersistentValue, PersistentLeaf where Scalar: PersistableScalar { public typealias Stored = Self }
extension SIMD3: Persistable where Scalar: PersistableScalar {
    public static var layout: TypeLayout { TypeLayout(Self.self, name: "SIMD3", parameters: [Scalar.layout]) }
}
extension SIMD4: PersistentValue, PersistentLeaf where Scalar: PersistableScalar { public typealias Stored = Self }
extension SIMD4: Persistable where Scalar: PersistableScalar {
    public static var layout: TypeLayout { TypeLayout(Self.self, name: "SIMD4", parameters: [Scalar.layout]) }
}
extension SIMD8: PersistentValue, PersistentLeaf where Scalar: PersistableScalar { public typealias Stored = Self }
extension SIMD8: Persistable where Scalar: PersistableScalar {
    public static var layout: TypeLayout { TypeLayout(Self.self, name: "SIMD8", parameters: [Scalar.layout]) }
}
extension SIMD16: PersistentValue, PersistentLeaf where Scalar: PersistableScalar { public typealias Stored = Self }
extension SIMD16: Persistable where Scalar: PersistableScalar {
    public static var layout: TypeLayout { TypeLayout(Self.self, name: "SIMD16", parameters: [Scalar.layout]) }
}
