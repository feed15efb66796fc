internal import VMTypes

/// Appends little-endian fields to a byte array.
struct ByteWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// Length (4 bytes), then the UTF-8.
    mutating func put(_ text: String) {
        let utf8 = Array(text.utf8)
        put(UInt32(utf8.count))
        bytes.append(contentsOf: utf8)
    }

    /// Length (4 bytes), then the bytes.
    mutating func put(_ blob: [UInt8]) {
        put(UInt32(blob.count))
        bytes.append(contentsOf: blob)
    }

    mutating func append(_ raw: [UInt8]) { bytes.append(contentsOf: raw) }
}

/// Reads what `ByteWriter` wrote; whatever the bytes are, it throws instead of reading past them.
struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    private(set) var offset = 0
    private let what: String

    /// `bytes` must outlive the reader.
    init(_ bytes: UnsafeRawBufferPointer, what: String) {
        self.bytes = bytes
        self.what = what
    }

    var remaining: Int { bytes.count - offset }

    private func damaged() -> StoreError {
        StoreError(
            .damaged, "\(what) ends early, at byte \(offset) of \(bytes.count)",
            advice: "Run `varve verify` to see what else is damaged")
    }

    mutating func get<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(StoreError) -> T {
        guard remaining >= MemoryLayout<T>.size else { throw damaged() }
        defer { offset += MemoryLayout<T>.size }
        return T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    mutating func getBytes(_ count: Int) throws(StoreError) -> [UInt8] {
        guard count >= 0, remaining >= count else { throw damaged() }
        defer { offset += count }
        return [UInt8](bytes[offset..<offset + count])
    }

    mutating func getBlob() throws(StoreError) -> [UInt8] {
        let count: UInt32 = try get()
        return try getBytes(Int(count))
    }

    mutating func getString() throws(StoreError) -> String { String(decoding: try getBlob(), as: UTF8.self) }
}
