internal import Glibc

/// Whole files and folders of the lab's own.
enum LabFile {
    static func read(_ path: String) throws(LabError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(path) }
        defer { close(descriptor) }
        let size = Int(lseek(descriptor, 0, SEEK_END))
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: max(size, 0)) { buffer, count in
            while count < size {
                let done = pread(descriptor, buffer.baseAddress! + count, size - count, off_t(count))
                if done < 0 { failure = errno }
                if done <= 0 { break }
                count += done
            }
        }
        guard failure == 0, bytes.count == size else { throw LabError("\(path) could not be read: \(String(cString: strerror(failure)))") }
        return bytes
    }

    /// A file's lines that are not empty.
    static func lines(_ path: String) throws(LabError) -> [String] {
        String(decoding: try read(path), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    static func write(_ bytes: [UInt8], to path: String) throws(LabError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(path) }
        defer { close(descriptor) }
        let done = bytes.withUnsafeBytes { bytes.isEmpty ? 0 : Glibc.write(descriptor, $0.baseAddress!, bytes.count) }
        guard done == bytes.count else { throw .system(path) }
    }

    static func makeFolder(_ path: String) throws(LabError) {
        guard mkdir(path, 0o700) == 0 else { throw .system(path) }
    }

    /// The names in a folder, without `.` and `..`.
    static func names(in path: String) throws(LabError) -> [String] {
        guard let folder = opendir(path) else { throw .system(path) }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Whether it is a file with bytes, and no socket or the like.
    static func isFile(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    static func size(_ path: String) throws(LabError) -> Int {
        var status = stat()
        guard stat(path, &status) == 0 else { throw .system(path) }
        return Int(status.st_size)
    }

    /// Removes what a folder holds, and the folder.
    static func remove(_ path: String) {
        if isFolder(path) {
            for name in (try? names(in: path)) ?? [] { remove(path + "/" + name) }
            rmdir(path)
        } else {
            unlink(path)
        }
    }

    /// Copies a folder, with what it holds, to a name that nothing has.
    static func copy(_ from: String, to: String) throws(LabError) {
        try makeFolder(to)
        for name in try names(in: from) {
            let source = from + "/" + name, target = to + "/" + name
            if isFolder(source) { try copy(source, to: target) } else if isFile(source) { try write(read(source), to: target) }
        }
    }

    /// The path from the root, without links.
    static func resolved(_ path: String) throws(LabError) -> String {
        guard let real = realpath(path, nil) else { throw .system(path) }
        defer { free(real) }
        return String(cString: real)
    }
}
