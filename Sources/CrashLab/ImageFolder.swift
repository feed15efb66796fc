internal import Glibc

/// A folder that is made to hold one image after the other.
///
/// What lies there is read and compared, block by block, and written only where it is other than wanted: images of one run, and
/// what a check made of the last one, differ in little. Nothing is assumed of what happened to the folder in between.
final class ImageFolder {
    let path: String
    /// What a file holds now; zeros behind that, up to its wanted size.
    private var buffer: UnsafeMutableRawBufferPointer

    /// `path` is nobody else's, and may be there.
    init(_ path: String) {
        self.path = path
        buffer = .allocate(byteCount: 1 << 20, alignment: Block.size)
    }

    deinit { buffer.deallocate() }

    /// Makes it hold what an image holds, and nothing else.
    func hold(_ image: CrashImage) throws(LabError) {
        try prepare { name in image.names.entries[name].map { $0 == nil } }
        for name in image.names.entries.keys.sorted() {
            guard let number = image.names.entries[name]! else {
                try makeFolder(name)
                continue
            }
            guard let file = image.files[number] else { continue }
            try update(name, size: file.size) { block, body in file[block].bytes.withUnsafeBytes(body) }
        }
    }

    /// The same; `replacing`: these bytes (nil: no such file) are in the place of a file's.
    func hold(_ image: FolderImage, replacing other: (path: String, bytes: [UInt8]?)? = nil) throws(LabError) {
        var kinds: [String: Bool] = [:]
        for (name, bytes) in image.files { kinds[name] = bytes == nil }
        if let other, other.bytes == nil { kinds[other.path] = nil }
        try prepare { kinds[$0] }
        for (name, bytes) in image.files where kinds[name] != nil {
            guard let own = bytes else {
                try makeFolder(name)
                continue
            }
            let bytes = other?.path == name ? other?.bytes ?? own : own
            try update(name, size: bytes.count) { block, body in
                bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[block * Block.size..<min($0.count, (block + 1) * Block.size)])) }
            }
        }
    }

    /// Removes it.
    func remove() { LabFile.remove(path) }

    /// Removes what is not wanted, or is of another kind; `isFolder` says what is wanted under a name.
    private func prepare(_ isFolder: (String) -> Bool?) throws(LabError) {
        guard LabFile.isFolder(path) else {
            LabFile.remove(path)
            return try LabFile.makeFolder(path)
        }
        try prune("", isFolder)
    }

    private func prune(_ prefix: String, _ isFolder: (String) -> Bool?) throws(LabError) {
        for name in try LabFile.names(in: path + "/" + prefix) {
            let name = prefix + name, full = path + "/" + name
            let isThere = LabFile.isFolder(full)
            guard isFolder(name) == isThere, isThere || LabFile.isFile(full) else {
                LabFile.remove(full)
                continue
            }
            if isThere { try prune(name + "/", isFolder) }
        }
    }

    private func makeFolder(_ name: String) throws(LabError) {
        let full = path + "/" + name
        guard mkdir(full, 0o700) == 0 || errno == EEXIST else { throw .system(full) }
    }

    /// Makes a file `size` bytes long with the blocks that `block` shows, of which the last may end earlier.
    private func update(_ name: String, size: Int, _ block: (Int, (UnsafeRawBufferPointer) -> Bool) -> Bool) throws(LabError) {
        let full = path + "/" + name
        let descriptor = open(full, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(full) }
        defer { close(descriptor) }
        let old = Int(lseek(descriptor, 0, SEEK_END))
        guard old >= 0, old == size || ftruncate(descriptor, off_t(size)) == 0 else { throw .system(full) }
        let whole = (size + Block.size - 1) / Block.size * Block.size
        if buffer.count < whole {
            buffer.deallocate()
            buffer = .allocate(byteCount: max(whole, 2 * buffer.count), alignment: Block.size)
        }
        var known = 0
        while known < min(old, size) {
            let count = pread(descriptor, buffer.baseAddress! + known, min(old, size) - known, off_t(known))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .system(full) }
            known += count
        }
        memset(buffer.baseAddress! + known, 0, whole - known)
        for index in 0..<whole / Block.size {
            let offset = index * Block.size
            let isWritten = block(index) { wanted in
                let count = min(size - offset, wanted.count)
                if memcmp(buffer.baseAddress! + offset, wanted.baseAddress!, count) == 0 { return true }
                return pwrite(descriptor, wanted.baseAddress!, count, off_t(offset)) == count
            }
            guard isWritten else { throw .system(full) }
        }
    }
}
