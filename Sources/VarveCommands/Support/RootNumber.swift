internal import Varve

/// The value of a root that is a number.
struct RootNumber {
    let text: String
    let json: JSON

    /// Nil where the root is no number.
    init?(_ heap: PersistentHeap, _ root: PersistentHeap.RootRecord) {
        func integer<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) -> (String, JSON) {
            let value = heap.space.load(root.offset, as: T.self)
            return ("\(value)", T.isSigned ? .integer(Int(value)) : .unsigned(UInt64(value)))
        }
        guard !root.isContainer else { return nil }
        switch root.layout {
        case "Int", "Int64": (text, json) = integer(Int.self)
        case "Int8": (text, json) = integer(Int8.self)
        case "Int16": (text, json) = integer(Int16.self)
        case "Int32": (text, json) = integer(Int32.self)
        case "UInt", "UInt64": (text, json) = integer(UInt.self)
        case "UInt8": (text, json) = integer(UInt8.self)
        case "UInt16": (text, json) = integer(UInt16.self)
        case "UInt32": (text, json) = integer(UInt32.self)
        case "Double":
            let value = heap.space.load(root.offset, as: Double.self)
            (text, json) = ("\(value)", .number(value))
        case "Float":
            let value = heap.space.load(root.offset, as: Float.self)
            (text, json) = ("\(value)", .number(Double(value)))
        case "Bool":
            // Other values than 0 and 1 are no Bool.
            let value = heap.space.load(root.offset, as: UInt8.self) & 1 == 1
            (text, json) = ("\(value)", .bool(value))
        default: return nil
        }
    }
}
