@_spi(Reflection) import Swift

/// How a type's values lie in a heap: what is recorded with each root, and compared when the root is opened.
///
/// Names of fields and cases are part of it, so that two fields of one type that changed places are noticed. Two layouts
/// are the same where their `text` is.
public struct TypeLayout: Hashable, Sendable, CustomStringConvertible {
    /// The type's name, without its module, and all that is recorded of its parts.
    public let text: String
    /// Bytes of a value (`MemoryLayout.size`).
    public let size: Int
    /// Bytes from one value to the next.
    public let stride: Int
    public let alignment: Int
    /// Whether a value holds raw pointers: these are valid at the heap's home address only.
    public let holdsPointers: Bool
    /// What forbids keeping values of the type, a sentence each; empty where nothing does.
    public let problems: [String]

    public var description: String { text }

    init(text: String, size: Int, stride: Int, alignment: Int, holdsPointers: Bool = false, problems: [String] = []) {
        self.text = text
        self.size = size
        self.stride = stride
        self.alignment = alignment
        self.holdsPointers = holdsPointers
        self.problems = problems
    }

    /// A type whose values have no parts of their own: numbers, say. `name` is the type's where nil is given.
    public init<T: BitwiseCopyable>(scalar type: T.Type, name: String? = nil) {
        self.init(
            text: name ?? typeName(type), size: MemoryLayout<T>.size, stride: MemoryLayout<T>.stride,
            alignment: MemoryLayout<T>.alignment)
    }

    /// A raw pointer to a `pointee`.
    init<T: BitwiseCopyable>(pointer type: T.Type, name: String) {
        self.init(
            text: name, size: MemoryLayout<T>.size, stride: MemoryLayout<T>.stride, alignment: MemoryLayout<T>.alignment,
            holdsPointers: true)
    }

    /// A type of which `name` and the layouts of its parameters are all that matters: a collection's handle, an array of
    /// fixed length, an optional.
    public init<T: BitwiseCopyable>(_ type: T.Type, name: String, parameters: [TypeLayout]) {
        self.init(
            text: "\(name)<\(parameters.map(\.text).joined(separator: ", "))>", size: MemoryLayout<T>.size,
            stride: MemoryLayout<T>.stride, alignment: MemoryLayout<T>.alignment,
            holdsPointers: parameters.contains(where: \.holdsPointers), problems: parameters.flatMap(\.problems))
    }

    /// One stored property of a structure, for a layout that is written by hand.
    public struct Field: Sendable {
        let name: String
        let offset: Int?
        let layout: TypeLayout

        public init<Root, Value: Persistable>(_ name: String, _ path: KeyPath<Root, Value>) {
            self.name = name
            offset = MemoryLayout<Root>.offset(of: path)
            layout = Value.layout
        }
    }

    /// A structure, its stored properties named by hand, in order.
    ///
    /// A property that is computed, out of order or overlaps another, and bytes that no property explains, are problems,
    /// which every opening of such a root reports.
    public init<T: BitwiseCopyable>(_ type: T.Type, name: String? = nil, fields: [Field]) {
        let name = name ?? typeName(type)
        var problems = fields.flatMap(\.layout.problems)
        var end = 0
        for field in fields {
            guard let offset = field.offset else {
                problems.append("\(name).\(field.name) is not a stored property")
                continue
            }
            if offset < end { problems.append("\(name).\(field.name) is out of order, or named twice") }
            if offset >= end + field.layout.alignment { problems.append("\(name) has a property before \(field.name) that its layout leaves out") }
            end = offset + field.layout.size
        }
        if end != MemoryLayout<T>.size {
            problems.append("\(name) has \(MemoryLayout<T>.size) bytes, and its layout explains \(end)")
        }
        self.init(
            text: Self.structure(name, fields.map { ($0.name, $0.offset ?? -1, $0.layout.text) }), size: MemoryLayout<T>.size,
            stride: MemoryLayout<T>.stride, alignment: MemoryLayout<T>.alignment,
            holdsPointers: fields.contains(where: \.layout.holdsPointers), problems: problems)
    }

    /// An enumeration, its cases named by hand, each with a value of it and the layout of what it carries.
    public init<T: BitwiseCopyable>(_ type: T.Type, name: String? = nil, cases: [(name: String, payload: TypeLayout?)]) {
        let shown = cases.map { name, payload in payload.map { "\(name)(\($0.text))" } ?? name }
        self.init(
            text: "\(name ?? typeName(type)){\(shown.joined(separator: "|"))}/\(MemoryLayout<T>.size)",
            size: MemoryLayout<T>.size, stride: MemoryLayout<T>.stride, alignment: MemoryLayout<T>.alignment,
            holdsPointers: cases.contains { $0.payload?.holdsPointers == true }, problems: cases.flatMap { $0.payload?.problems ?? [] })
    }

    private static func structure(_ name: String, _ fields: [(name: String, offset: Int, text: String)]) -> String {
        "\(name){\(fields.map { "\($0.name)@\($0.offset): \($0.text)" }.joined(separator: ", "))}"
    }
}

extension TypeLayout {
    /// A structure as the compiler laid it out: every stored property must be `Persistable` itself.
    ///
    /// Where the program was built without reflection metadata, that is a problem: write the layout by hand.
    public init<T: BitwiseCopyable>(reflecting type: T.Type) {
        let name = typeName(type)
        var problems: [String] = []
        var holdsPointers = false
        let text = Self.reflect(type, name, &problems, &holdsPointers)
        self.init(
            text: text ?? name, size: MemoryLayout<T>.size, stride: MemoryLayout<T>.stride, alignment: MemoryLayout<T>.alignment,
            holdsPointers: holdsPointers,
            problems: text == nil ? ["\(name) can't be looked into: give it a `layout` written by hand"] : problems)
    }

    /// The text of a structure or tuple, or nil where it can't be looked into.
    private static func reflect(_ type: Any.Type, _ name: String, _ problems: inout [String], _ holdsPointers: inout Bool) -> String? {
        var fields: [(name: String, offset: Int, text: String)] = []
        let isKnown = _forEachField(of: type) { label, offset, field, kind in
            let label = String(cString: label)
            if let known = field as? any Persistable.Type {
                let layout = known.layout
                problems += layout.problems
                if layout.holdsPointers { holdsPointers = true }
                fields.append((label, offset, layout.text))
            } else if kind == .tuple {
                let text = reflect(field, "", &problems, &holdsPointers)
                fields.append((label, offset, text ?? typeName(field)))
            } else {
                problems.append("\(name).\(label) is of type \(field), which is not Persistable")
                fields.append((label, offset, typeName(field)))
            }
            return true
        }
        return isKnown && !(fields.isEmpty && !name.isEmpty) ? structure(name, fields) : nil
    }

    /// An enumeration without payloads: every case with its name and its byte.
    public init<T: BitwiseCopyable & CaseIterable>(cases type: T.Type) {
        let cases = T.allCases.map { value in
            "\(value)=\(withUnsafeBytes(of: value) { $0.reversed().reduce(0) { $0 << 8 | UInt64($1) } })"
        }
        self.init(
            text: "\(typeName(type)){\(cases.joined(separator: "|"))}", size: MemoryLayout<T>.size,
            stride: MemoryLayout<T>.stride, alignment: MemoryLayout<T>.alignment)
    }
}

/// The name of a type without its module's: what `String(describing:)` says of it, which takes a process a millisecond the first time.
private func typeName(_ type: Any.Type) -> String { _typeName(type, qualified: false) }
