/// What a stored value owns of the heap, as its recorded layout says: all that a check needs which has no Swift types.
package indirect enum StoredShape: Equatable, Sendable {
    /// It owns nothing.
    case plain(name: String)
    /// 16 bytes of a string or of bytes: a block where they don't hold them.
    case bytes(isText: Bool)
    case array(StoredShape)
    case dictionary(StoredShape, StoredShape)
    case set(StoredShape)
    case sortedMap(StoredShape, StoredShape)
    /// A structure, and what of it owns something.
    case fields([Field])

    package struct Field: Equatable, Sendable {
        package let offset: Int
        package let shape: StoredShape
    }

    /// The shape that the text of a layout (`TypeLayout.text`) describes. What it does not know owns nothing.
    package init(layout text: String) {
        var parser = LayoutParser(text)
        self = parser.parse()
    }

    package var ownsMemory: Bool {
        switch self {
        case .plain: false
        case .bytes, .array, .dictionary, .set, .sortedMap: true
        case .fields(let fields): fields.contains { $0.shape.ownsMemory }
        }
    }
}

/// Reads the text of a layout: `Name<parameter, …>{field@offset: type, …}`, or with the cases of an enumeration in its braces.
private struct LayoutParser {
    private let text: [UInt8]
    private var at = 0
    /// Types within types.
    private var depth = 0
    /// No type of a program has as many; the text may be anything.
    private static let deepest = 64

    init(_ text: String) { self.text = Array(text.utf8) }

    private static func byte(_ character: Unicode.Scalar) -> UInt8 { UInt8(character.value) }

    private func next(is character: Unicode.Scalar) -> Bool { at < text.count && text[at] == Self.byte(character) }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next(is: character) else { return false }
        at += 1
        return true
    }

    private mutating func skipSpaces() { while take(" ") {} }

    private mutating func word(until ends: String) -> String {
        let ends = Array(ends.utf8)
        let start = at
        while at < text.count, !ends.contains(text[at]) { at += 1 }
        return String(decoding: text[start..<at], as: UTF8.self)
    }

    mutating func parse() -> StoredShape {
        skipSpaces()
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepest else {
            at = text.count
            return .plain(name: "")
        }
        let name = word(until: "<{,>}|)(")
        var parameters: [StoredShape] = []
        while take("<") {
            while at < text.count, !next(is: ">") {
                parameters.append(parse())
                skipSpaces()
                if !take(","), !next(is: ">") { at += 1 }
            }
            _ = take(">")
        }
        var fields: [StoredShape.Field] = []
        if take("{") { fields = parseBraces() }
        switch (name, parameters.count) {
        case ("String", 0), ("PersistentString", 0): return .bytes(isText: true)
        case ("[UInt8]", 0), ("PersistentBytes", 0): return .bytes(isText: false)
        case ("PersistentArray", 1): return .array(parameters[0])
        case ("PersistentSet", 1): return .set(parameters[0])
        case ("PersistentDictionary", 2): return .dictionary(parameters[0], parameters[1])
        case ("PersistentSortedMap", 2): return .sortedMap(parameters[0], parameters[1])
        default:
            let owners = fields.filter(\.shape.ownsMemory)
            return owners.isEmpty ? .plain(name: name) : .fields(owners)
        }
    }

    /// The fields of a structure, after its opening brace; passes over the cases of an enumeration.
    private mutating func parseBraces() -> [StoredShape.Field] {
        var fields: [StoredShape.Field] = []
        let start = at
        while at < text.count, !next(is: "}") {
            _ = word(until: "@}{<|=(")
            guard take("@") else {
                at = start
                skipBraces()
                return []
            }
            let offset = Int(word(until: ":"))
            _ = take(":")
            let shape = parse()
            if let offset, 0...Int(Int32.max) ~= offset { fields.append(StoredShape.Field(offset: offset, shape: shape)) }
            skipSpaces()
            if !take(","), !next(is: "}") { break }
        }
        _ = take("}")
        return fields
    }

    /// Goes behind the brace that closes the one before.
    private mutating func skipBraces() {
        var depth = 1
        while at < text.count, depth > 0 {
            if next(is: "{") { depth += 1 }
            if next(is: "}") { depth -= 1 }
            at += 1
        }
        if take("/") { _ = word(until: "<{,>}|)(") }
    }
}
