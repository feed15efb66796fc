internal import Glibc

/// What a block device holds; blocks that are the same as another volume's are shared with it.
struct BlockVolume: Sendable {
    /// One that the lab can mount.
    enum FileSystem: String {
        case ext4, xfs, btrfs

        /// Two volumes of the same identity are mounted at once.
        var options: String? { self == .xfs ? "nouuid" : nil }
    }

    private(set) var blocks: [Block]

    var size: Int { blocks.count * Block.size }

    /// The bytes of a file, whole blocks.
    init(contentsOf path: String) throws(LabError) {
        let bytes = try LabFile.read(path)
        guard !bytes.isEmpty, bytes.count.isMultiple(of: Block.size) else { throw LabError("\(path) does not consist of blocks of \(Block.size) bytes") }
        blocks = stride(from: 0, to: bytes.count, by: Block.size).map { Block.make(bytes[$0..<$0 + Block.size]) }
    }

    /// What the superblocks say that it holds; nil: nothing that the lab knows.
    var fileSystem: FileSystem? {
        func has(_ text: [UInt8], at offset: Int) -> Bool {
            guard offset / Block.size < blocks.count else { return false }
            let start = offset % Block.size
            return blocks[offset / Block.size].bytes[start..<start + text.count].elementsEqual(text)
        }
        if has(Array("XFSB".utf8), at: 0) { return .xfs }
        if has([0x53, 0xef], at: 1024 + 56) { return .ext4 }
        if has(Array("_BHRfS_M".utf8), at: 65536 + 64) { return .btrfs }
        return nil
    }

    /// Does what an entry of `log` says, or a part of it within its place.
    mutating func apply(_ entry: WriteLog.Entry, of log: WriteLog, only part: Range<Int>? = nil) {
        let part = part ?? entry.place
        var at = part.lowerBound
        while at < part.upperBound {
            let block = at / Block.size, start = at % Block.size
            let count = min(Block.size - start, part.upperBound - at)
            if let data = entry.data {
                let from = data.lowerBound + at - entry.place.lowerBound
                blocks[block] = blocks[block].replacing(from: start, with: log.bytes[from..<from + count])
            } else {
                blocks[block] = blocks[block].replacing(from: start, with: [UInt8](repeating: 0, count: count)[...])
            }
            at += count
        }
    }

    /// Makes a file hold it and nothing else.
    func write(to file: Int32) throws(LabError) {
        // No bytes of before: the file is as long as it was, and all of it a hole.
        guard ftruncate(file, 0) == 0, ftruncate(file, off_t(size)) == 0 else { throw .system("emptying the file of a volume") }
        var run: [UInt8] = []
        var next = 0
        while next < blocks.count {
            if blocks[next] === Block.zeros {
                next += 1
                continue
            }
            let first = next
            run.removeAll(keepingCapacity: true)
            // Blocks that follow one another go in one call.
            while next < blocks.count, blocks[next] !== Block.zeros, next - first < 256 {
                run.append(contentsOf: blocks[next].bytes)
                next += 1
            }
            let done = run.withUnsafeBytes { pwrite(file, $0.baseAddress!, $0.count, off_t(first * Block.size)) }
            guard done == run.count else { throw .system("writing a volume") }
        }
    }
}
