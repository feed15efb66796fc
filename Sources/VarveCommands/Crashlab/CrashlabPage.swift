internal import Glibc
internal import Varve

/// The bytes that a seed stands for; those of 0 are zeros.
enum CrashlabPage {
    static let size = 4096

    static func fill(_ page: UnsafeMutableRawPointer, _ seed: UInt64) {
        memset(page, Int32(UInt8(truncatingIfNeeded: seed)), size)
        page.storeBytes(of: seed, as: UInt64.self)
        page.storeBytes(of: seed, toByteOffset: size - 8, as: UInt64.self)
    }

    static func bytes(_ seeds: [UInt64]) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: seeds.count * size)
        bytes.withUnsafeMutableBytes { for (index, seed) in seeds.enumerated() { fill($0.baseAddress! + index * size, seed) } }
        return bytes
    }

    /// What is wrong with `bytes` as an object's; nil where nothing is.
    static func difference(_ bytes: UnsafeRawBufferPointer, _ object: CrashlabState.Object) -> String? {
        guard bytes.count == object.pageCount * size else { return "\(bytes.count) bytes, not \(object.pageCount) pages" }
        let expected = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
        defer { expected.deallocate() }
        for page in 0..<object.pageCount {
            let seed = object.pages[page] ?? 0
            fill(expected, seed)
            let found = bytes.baseAddress! + page * size
            if memcmp(found, expected, size) != 0 { return "page \(page) begins with \(found.loadUnaligned(as: UInt64.self)), not \(seed)" }
        }
        return nil
    }
}
