internal import CLMDB

/// A key: big-endian fields, so that LMDB's byte order is the order of the numbers; or a name.
struct Key {
    private(set) var bytes: [UInt8] = []

    init() {}
    init(bytes: UnsafeRawBufferPointer) { self.bytes = [UInt8](bytes) }
    init(_ name: String) { bytes = Array(name.utf8) }
    init(_ fields: UInt64...) { for field in fields { append(field) } }

    func with(_ part: UInt32) -> Key {
        var key = self
        withUnsafeBytes(of: part.bigEndian) { key.bytes.append(contentsOf: $0) }
        return key
    }

    private mutating func append(_ field: UInt64) {
        withUnsafeBytes(of: field.bigEndian) { bytes.append(contentsOf: $0) }
    }

    func withValue(_ body: (inout MDB_val) -> Int32) -> Int32 {
        bytes.withUnsafeBytes { raw in
            var value = MDB_val(mv_size: raw.count, mv_data: UnsafeMutableRawPointer(mutating: raw.baseAddress))
            return body(&value)
        }
    }

    /// The big-endian number at byte `offset` of a key that was read; nil where it is too short.
    static func field(_ key: UnsafeRawBufferPointer, _ offset: Int) -> UInt64? {
        guard key.count >= offset + 8 else { return nil }
        return UInt64(bigEndian: key.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    static func part(_ key: UnsafeRawBufferPointer, _ offset: Int) -> UInt32? {
        guard key.count >= offset + 4 else { return nil }
        return UInt32(bigEndian: key.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
}
