internal import Glibc

/// What a disk may hold after the power went at one moment.
struct CrashImage {
    struct File {
        var blocks: [Int: SimulatedDisk.Block]
        var size: Int
    }

    var files: [UInt64: File]
    var names: SimulatedDisk.Names
    /// How it came about, for people.
    var description: String

    /// What is durable on a disk, and nothing else.
    init(durable disk: SimulatedDisk) {
        files = disk.files.mapValues { File(blocks: $0.durable, size: $0.durableSize) }
        names = disk.durableNames
        description = "nothing pending"
    }

    mutating func apply(_ pending: SimulatedDisk.Pending, to file: UInt64) {
        guard var target = files.removeValue(forKey: file) else { return }
        SimulatedDisk.apply(pending, &target.blocks, &target.size)
        files[file] = target
    }

    /// The same for images whose files would be the same.
    var hash: UInt64 {
        var total: UInt64 = 0
        for (path, entry) in names.entries {
            var hasher = WordHash(path)
            if let number = entry, let file = files[number] {
                hasher.add(UInt64(file.size))
                // Order does not matter to a sum, and absent blocks are zeros.
                var content: UInt64 = 0
                for (index, block) in file.blocks where index * SimulatedDisk.blockSize < file.size && block !== SimulatedDisk.Block.zeros {
                    var one = WordHash(block.hash)
                    one.add(UInt64(index))
                    content &+= one.value
                }
                hasher.add(content)
            }
            total &+= hasher.value
        }
        return total
    }

    /// Makes the files in `folder`, which is there and empty.
    func write(to folder: String) throws(LabError) {
        for path in names.entries.keys.sorted() {
            let full = folder + "/" + path
            guard let number = names.entries[path]! else {
                guard mkdir(full, 0o700) == 0 || errno == EEXIST else { throw LabError("\(full): \(String(cString: strerror(errno)))") }
                continue
            }
            guard let file = files[number] else { continue }
            let descriptor = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw LabError("\(full): \(String(cString: strerror(errno)))") }
            defer { close(descriptor) }
            guard ftruncate(descriptor, off_t(file.size)) == 0 else { throw LabError("\(full): \(String(cString: strerror(errno)))") }
            for (index, block) in file.blocks {
                let start = index * SimulatedDisk.blockSize
                let count = min(SimulatedDisk.blockSize, file.size - start)
                guard count > 0, block !== SimulatedDisk.Block.zeros else { continue }
                let done = block.bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress!, count, off_t(start)) }
                guard done == count else { throw LabError("\(full): \(String(cString: strerror(errno)))") }
            }
        }
    }
}

/// A hash of words and short texts, of no strength against an adversary.
struct WordHash {
    private(set) var value: UInt64

    init(_ word: UInt64) {
        value = 0x9e37_79b9_7f4a_7c15
        add(word)
    }

    init(_ text: String) {
        self.init(UInt64(text.utf8.count))
        for byte in text.utf8 { add(UInt64(byte)) }
    }

    mutating func add(_ word: UInt64) {
        var z = value ^ word
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        value = z ^ (z >> 31)
    }
}
