internal import CCrashRecorderHeader
internal import Glibc

/// Why the lab could not do its work; never a finding about the store.
public struct LabError: Error, CustomStringConvertible, Sendable {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// What a process did to the files below a folder, in order; as `crash_recorder.h` describes it.
public struct Trace: Sendable {
    enum Event: Sendable {
        /// A file that the trace names for the first time; `isNew` where it was made by this call.
        case open(file: UInt64, path: String, isNew: Bool, isFolder: Bool)
        /// `isSynchronous`: durable when the call returned.
        case write(file: UInt64, offset: Int, bytes: [UInt8], isSynchronous: Bool)
        case syncBegin(file: UInt64, number: UInt64)
        case syncEnd(file: UInt64, number: UInt64)
        case resize(file: UInt64, size: Int)
        /// The size is at least this from then on.
        case extend(file: UInt64, size: Int)
        case rename(from: String, to: String)
        case remove(path: String)
        case makeFolder(path: String)
        case acknowledge([UInt8])
    }

    private(set) var events: [Event] = []

    /// Reads the file that a recorder wrote. Throws where it is cut short, or the process did what no recorder can follow.
    public init(contentsOf path: String) throws(LabError) {
        let bytes = try LabFile.read(path)
        var at = 0
        let headerSize = MemoryLayout<crash_event>.size
        func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
        while at < bytes.count {
            guard at + headerSize <= bytes.count else { throw LabError("\(path): cut short at byte \(at)") }
            let header = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: crash_event.self) }
            let pathEnd = at + headerSize + Int(header.path_length)
            let end = pathEnd + (header.has_data == 1 ? Int(header.length) : 0)
            guard end <= bytes.count else { throw LabError("\(path): cut short at byte \(at)") }
            let name = at + headerSize..<pathEnd
            switch crash_event_kind(header.kind) {
            case CRASH_OPEN:
                events.append(
                    .open(
                        file: header.file, path: text(name), isNew: header.flags & CRASH_CREATED.rawValue != 0,
                        isFolder: header.flags & CRASH_FOLDER.rawValue != 0))
            case CRASH_WRITE:
                events.append(
                    .write(
                        file: header.file, offset: Int(header.offset), bytes: Array(bytes[pathEnd..<end]),
                        isSynchronous: header.flags & CRASH_SYNCHRONOUS.rawValue != 0))
            case CRASH_SYNC_BEGIN: events.append(.syncBegin(file: header.file, number: header.offset))
            case CRASH_SYNC_END: events.append(.syncEnd(file: header.file, number: header.offset))
            case CRASH_TRUNCATE: events.append(.resize(file: header.file, size: Int(header.length)))
            case CRASH_ALLOCATE: events.append(.extend(file: header.file, size: Int(header.offset + header.length)))
            case CRASH_RENAME:
                let names = bytes[name].split(separator: 0, omittingEmptySubsequences: false)
                guard names.count == 2 else { throw LabError("\(path): a rename without two names at byte \(at)") }
                events.append(.rename(from: String(decoding: names[0], as: UTF8.self), to: String(decoding: names[1], as: UTF8.self)))
            case CRASH_UNLINK, CRASH_REMOVE_FOLDER: events.append(.remove(path: text(name)))
            case CRASH_MAKE_FOLDER: events.append(.makeFolder(path: text(name)))
            case CRASH_ACKNOWLEDGE: events.append(.acknowledge(Array(bytes[pathEnd..<end])))
            case CRASH_UNKNOWN: throw LabError("the process changed a file by \(text(name)), which the recorder does not follow")
            default: throw LabError("\(path): an event of kind \(header.kind) at byte \(at)")
            }
            at = end
        }
    }
}

/// Whole files and folders of the lab's own.
enum LabFile {
    static func read(_ path: String) throws(LabError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw LabError("\(path): \(String(cString: strerror(errno)))") }
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
        guard failure == 0, bytes.count == size else { throw LabError("\(path): could not be read: \(String(cString: strerror(failure)))") }
        return bytes
    }

    /// The names in a folder, without `.` and `..`.
    static func names(in path: String) throws(LabError) -> [String] {
        guard let folder = opendir(path) else { throw LabError("\(path): \(String(cString: strerror(errno)))") }
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

    /// Removes what a folder holds, and the folder.
    static func remove(_ path: String) {
        if isFolder(path) {
            for name in (try? names(in: path)) ?? [] { remove(path + "/" + name) }
            rmdir(path)
        } else {
            unlink(path)
        }
    }
}

extension LabFile {
    /// Copies a folder, with what it holds, to a name that nothing has.
    static func copy(_ from: String, to: String) throws(LabError) {
        guard mkdir(to, 0o700) == 0 else { throw LabError("\(to): \(String(cString: strerror(errno)))") }
        for name in try names(in: from) {
            let source = from + "/" + name, target = to + "/" + name
            if isFolder(source) {
                try copy(source, to: target)
                continue
            }
            let bytes = try read(source)
            let descriptor = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw LabError("\(target): \(String(cString: strerror(errno)))") }
            defer { close(descriptor) }
            let done = bytes.withUnsafeBytes { bytes.isEmpty ? 0 : Glibc.write(descriptor, $0.baseAddress!, bytes.count) }
            guard done == bytes.count else { throw LabError("\(target): \(String(cString: strerror(errno)))") }
        }
    }
}
