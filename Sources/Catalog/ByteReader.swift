internal import VMTypes

/// Reads numbers and text from bytes that anyone may have written: every read is checked.
struct ByteReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }
    private var remaining: Int { bytes.count - position }

    func damaged(_ reason: String) -> StoreError {
        StoreError(
            .damaged, "catalog changes cannot be read: \(reason), at byte \(position) of \(bytes.count)",
            advice: "Run `varve verify`")
    }

    mutating func byte() throws(StoreError) -> UInt8 {
        guard position < bytes.count else { throw damaged("they end too early") }
        defer { position += 1 }
        return bytes[position]
    }

    /// A number in groups of 7 bits, in its only encoding.
    mutating func number() throws(StoreError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            guard shift < 63 || next <= 1 else { throw damaged("a number exceeds 64 bits") }
            value |= UInt64(next & 0x7f) << shift
            if next < 0x80 {
                guard next != 0 || shift == 0 else { throw damaged("a number is longer than it needs to be") }
                return value
            }
            shift += 7
        }
    }

    /// How many things of `size` bytes or more follow; never more than the bytes that are left can hold.
    mutating func count(atLeast size: Int) throws(StoreError) -> Int {
        let value = try number()
        guard let count = Int(exactly: value), count <= remaining / size else {
            throw damaged("\(value) items do not fit")
        }
        return count
    }

    mutating func text() throws(StoreError) -> String {
        let length = try count(atLeast: 1)
        guard let text = String(validating: bytes[position..<position + length], as: UTF8.self) else {
            throw damaged("text is not UTF-8")
        }
        position += length
        return text
    }

    /// A byte that is 0 or 1.
    mutating func flag() throws(StoreError) -> Bool {
        let value = try byte()
        guard value <= 1 else { throw damaged("neither present nor absent: \(value)") }
        return value == 1
    }

    mutating func optionalText() throws(StoreError) -> String? { try flag() ? try text() : nil }
}
