internal import Glibc

/// What a disk may hold after the power went at one moment.
struct CrashImage {
    var files: [UInt64: FileContent]
    var names: FileNames
    /// How it came about, for people.
    var description: String
    /// Which of a point's images it is.
    var choice: CrashPoint.Choice?

    /// What is durable on a disk, and nothing else.
    init(durable disk: SimulatedDisk) {
        files = disk.files.mapValues(\.durable)
        names = disk.durableNames
        description = "nothing that was pending"
    }

    /// The same for images whose files would be the same.
    var hash: UInt64 {
        var total: UInt64 = 0
        for (path, entry) in names.entries {
            var hasher = WordHash(path)
            if let number = entry, let file = files[number] {
                hasher.add(UInt64(file.size))
                // Order does not matter to a sum.
                var content: UInt64 = 0
                for (index, block) in file.blocks where index * Block.size < file.size {
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
        var run: [UInt8] = []
        for path in names.entries.keys.sorted() {
            let full = folder + "/" + path
            guard let number = names.entries[path]! else {
                try LabFile.makeFolder(full)
                continue
            }
            guard let file = files[number] else { continue }
            let descriptor = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw .system(full) }
            defer { close(descriptor) }
            guard ftruncate(descriptor, off_t(file.size)) == 0 else { throw .system(full) }
            // Blocks that follow one another go in one call.
            let indices = file.blocks.keys.filter { $0 * Block.size < file.size }.sorted()
            var next = 0
            while next < indices.count {
                let first = indices[next]
                run.removeAll(keepingCapacity: true)
                while next < indices.count, indices[next] == first + run.count / Block.size {
                    run.append(contentsOf: file[indices[next]].bytes)
                    next += 1
                }
                let start = first * Block.size
                let count = min(run.count, file.size - start)
                let done = run.withUnsafeBytes { pwrite(descriptor, $0.baseAddress!, count, off_t(start)) }
                guard done == count else { throw .system(full) }
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
        value = SplitMix.mix(value ^ word)
    }
}
