/// One page of a layer: its number, which of its 64-byte lines the layer holds, and the checksum of the whole page as
/// it then is.
struct PageEntry: Hashable, Sendable {
    /// The object's page number; 2^32 pages (16 TiB) are an object's limit.
    var page: UInt32
    /// A bit a line: all ones, the whole page; 0, a page of zeros, which holds no bytes; else a patch.
    var mask: UInt64
    /// XXH3 of the page's 4,096 bytes with the layer applied.
    var checksum: UInt64

    static let wholePage = UInt64.max
    static let zeros: UInt64 = 0
    /// Bytes of an entry on disk.
    static let encodedSize = 20

    var isWhole: Bool { mask == Self.wholePage }
    var isZero: Bool { mask == Self.zeros }
    var isPatch: Bool { !isWhole && !isZero }

    func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.storeBytes(of: page.littleEndian, as: UInt32.self)
        bytes.storeBytes(of: mask.littleEndian, toByteOffset: 4, as: UInt64.self)
        bytes.storeBytes(of: checksum.littleEndian, toByteOffset: 12, as: UInt64.self)
    }

    init(page: UInt32, mask: UInt64, checksum: UInt64) {
        self.page = page
        self.mask = mask
        self.checksum = checksum
    }

    init(from bytes: UnsafeRawPointer) {
        page = UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
        mask = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt64.self))
        checksum = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 12, as: UInt64.self))
    }
}
