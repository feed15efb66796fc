internal import CrashLab
internal import Varve

/// What each of the demo's commits writes: a pure function of a seed and the commit's number.
///
/// Whoever knows the contents before the first commit can tell those after any other, page by page.
struct DemoPattern {
    let seed: UInt64
    /// The object's size in bytes; above 0.
    let size: Int

    var pageCount: Int { Page.count(forBytes: size) }

    /// The pages that commit number `commit` fills.
    func pages(of commit: Int) -> Set<Int> {
        var generator = SplitMix(state: seed ^ SplitMix.mix(UInt64(commit)))
        let most = max(1, min(256, pageCount / 4))
        let count = 1 + Int(generator.next() % UInt64(most))
        return Set((0..<count).map { _ in Int(generator.next() % UInt64(pageCount)) })
    }

    /// Bytes of a page that belong to the object.
    func length(of page: Int) -> Int { min(Page.size, size - page * Page.size) }

    /// Fills a page with what commit number `commit` writes there, through plain stores.
    func fill(_ page: Int, commit: Int, at destination: UnsafeMutableRawPointer) {
        var generator = SplitMix(state: seed ^ SplitMix.mix(UInt64(commit) << 32 | UInt64(page)))
        var offset = 0
        while offset < length(of: page) {
            var word = generator.next()
            let count = min(8, length(of: page) - offset)
            if count == 8 {
                destination.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
            } else {
                withUnsafeBytes(of: &word) { bytes in
                    for index in 0..<count { destination.storeBytes(of: bytes[index], toByteOffset: offset + index, as: UInt8.self) }
                }
            }
            offset += 8
        }
    }

    /// Inverts a line of every `stride`-th page from `first` on, through plain stores; returns the pages.
    func invertLines(first: Int, stride: Int, at base: UnsafeMutableRawPointer) -> [Int] {
        let pages = Array(Swift.stride(from: min(first, pageCount - 1), to: pageCount, by: stride))
        for page in pages {
            let start = page * Page.size + (page % 8) * 64 % max(1, length(of: page))
            for offset in start..<min(start + 64, page * Page.size + length(of: page)) {
                let value = base.load(fromByteOffset: offset, as: UInt8.self)
                base.storeBytes(of: ~value, toByteOffset: offset, as: UInt8.self)
            }
        }
        return pages
    }
}

enum Digest {
    /// A digest of bytes, to compare states that are not there at the same time.
    static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var result = UInt64(bytes.count)
        var offset = 0
        while offset + 8 <= bytes.count {
            result = (SplitMix.mix(result ^ bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 3) &+ 1
            offset += 8
        }
        for byte in bytes[offset...] { result = SplitMix.mix(result ^ UInt64(byte)) &+ 1 }
        return result
    }
}
