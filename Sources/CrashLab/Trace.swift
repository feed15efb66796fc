internal import CCrashRecorderHeader
internal import Glibc

/// What a process did to the files below a folder, in order; as `crash_recorder.h` describes it.
struct Trace {
    enum Event {
        /// A file that the trace names for the first time; `isNew` where it was made by this call.
        case open(file: UInt64, path: String, isNew: Bool, isFolder: Bool)
        /// `isSynchronous`: durable when the call returned.
        case write(file: UInt64, offset: Int, bytes: [UInt8], isSynchronous: Bool)
        case syncBegin(file: UInt64, number: UInt64)
        case syncEnd(file: UInt64, number: UInt64)
        case syncFailed(file: UInt64)
        case resize(file: UInt64, size: Int)
        /// The size is at least this from then on.
        case extend(file: UInt64, size: Int)
        case rename(from: String, to: String)
        case remove(path: String)
        case makeFolder(path: String)
        /// `logSize`: how long the block device's log was just before, where there is one.
        case acknowledge([UInt8], logSize: Int)
    }

    private(set) var events: [Event] = []

    /// Reads the file that a recorder wrote. Throws where it is cut short, or the process did what no recorder can follow.
    ///
    /// Of files whose path ends in one of `lying` no synchronisation is told after the first acknowledgement, as if their disk
    /// had lied, or their program had forgotten it.
    init(contentsOf path: String, lying: [String] = []) throws(LabError) {
        let bytes = try LabFile.read(path)
        var at = 0
        var liars: Set<UInt64> = []
        var isLying = false
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
                let name = text(name)
                if lying.contains(where: { name.hasSuffix($0) }) { liars.insert(header.file) }
                events.append(
                    .open(
                        file: header.file, path: name, isNew: header.flags & CRASH_CREATED.rawValue != 0,
                        isFolder: header.flags & CRASH_FOLDER.rawValue != 0))
            case CRASH_WRITE:
                events.append(
                    .write(
                        file: header.file, offset: Int(header.offset), bytes: Array(bytes[pathEnd..<end]),
                        isSynchronous: header.flags & CRASH_SYNCHRONOUS.rawValue != 0 && !(isLying && liars.contains(header.file))))
            case CRASH_SYNC_BEGIN where isLying && liars.contains(header.file), CRASH_SYNC_END where isLying && liars.contains(header.file):
                break
            case CRASH_SYNC_BEGIN: events.append(.syncBegin(file: header.file, number: header.offset))
            case CRASH_SYNC_END: events.append(.syncEnd(file: header.file, number: header.offset))
            case CRASH_SYNC_FAILED: events.append(.syncFailed(file: header.file))
            case CRASH_TRUNCATE: events.append(.resize(file: header.file, size: Int(header.length)))
            case CRASH_ALLOCATE: events.append(.extend(file: header.file, size: Int(header.offset + header.length)))
            case CRASH_RENAME:
                let names = bytes[name].split(separator: 0, omittingEmptySubsequences: false)
                guard names.count == 2 else { throw LabError("\(path): a rename without two names at byte \(at)") }
                events.append(.rename(from: String(decoding: names[0], as: UTF8.self), to: String(decoding: names[1], as: UTF8.self)))
            case CRASH_UNLINK, CRASH_REMOVE_FOLDER: events.append(.remove(path: text(name)))
            case CRASH_MAKE_FOLDER: events.append(.makeFolder(path: text(name)))
            case CRASH_ACKNOWLEDGE:
                isLying = true
                events.append(.acknowledge(Array(bytes[pathEnd..<end]), logSize: Int(header.offset)))
            case CRASH_UNKNOWN:
                throw LabError("the traced program changed files by what the recorder does not follow: \(text(name))")
            default: throw LabError("\(path): an event of kind \(header.kind) at byte \(at)")
            }
            at = end
        }
    }
}
