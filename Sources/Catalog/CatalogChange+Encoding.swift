internal import VMTypes

// The bytes of a list of catalog changes, as a journal record and the outbox carry them.
//
//     list      = format (1 byte, 1) · count (number) · count changes; nothing follows
//     number    = an unsigned integer below 2^64 in groups of 7 bits, the lowest group first, one byte a
//                 group; bit 7 is set in every byte but the last; the last byte is not zero unless it is the
//                 only one; at most 10 bytes, the tenth at most 1
//     text      = length in bytes (number) · UTF-8
//     optional x = 0 (1 byte), or 1 (1 byte) · x
//     change    = tag (1 byte) · fields
//
//     tag  change          fields
//     1    createObject    object (number) · optional name (text) · size in bytes (number) · residency (1 byte)
//     2    renameObject    object (number) · optional name (text)
//     3    resizeObject    object (number) · size in bytes (number)
//     4    deleteObject    object (number)
//     5    createTask      task (number) · name (text) · window base (number) · window size in bytes (number)
//     6    deleteTask      task (number)
//     7    setEntries      task (number) · start (number) · end - start (number) · count (number) · count entries
//     8    createSnapshot  name (text) · version (number) · optional object (number) · message (text)
//     9    deleteSnapshot  name (text)
//     10   renameSnapshot  from (text) · to (text)
//     11   rollback        version (number)
//
//     entry     = flags (1 byte) · start - end of the entry before, or - start of the range for the first
//                 (number) · end - start (number) · object, if flags say so (number) · offset (number)
//                 · current protection (number) · maximum protection (number)
//     flags     = bit 0: an object follows; bit 1: copied; bits 2–3: inheritance (0 share, 1 copy, 2 none);
//                 bits 4–7: 0
//
// Differences are modulo 2^64. A protection is the number with the bits of its 32-bit value. An entry's task
// is that of its change. Every list has one encoding, so a decoder refuses any other.
extension CatalogChange {
    /// The first byte of every encoded list.
    public static let encodingFormat: UInt8 = 1

    /// The bytes of `changes`; `decode` gives them back.
    ///
    /// The entries of a `setEntries` must be of its task: only the change's own is written.
    public static func encode(_ changes: [CatalogChange]) -> [UInt8] {
        var writer = ByteWriter()
        writer.byte(encodingFormat)
        writer.number(UInt64(changes.count))
        for change in changes { change.write(to: &writer) }
        return writer.bytes
    }

    private func write(to writer: inout ByteWriter) {
        writer.byte(tag.rawValue)
        switch self {
        case .createObject(let id, let name, let size, let residency):
            writer.number(id.rawValue)
            writer.optional(name) { $0.text($1) }
            writer.number(size)
            writer.byte(residency)
        case .renameObject(let id, let name):
            writer.number(id.rawValue)
            writer.optional(name) { $0.text($1) }
        case .resizeObject(let id, let size):
            writer.number(id.rawValue)
            writer.number(size)
        case .deleteObject(let id): writer.number(id.rawValue)
        case .createTask(let id, let name, let base, let size):
            writer.number(id.rawValue)
            writer.text(name)
            writer.number(base)
            writer.number(size)
        case .deleteTask(let id): writer.number(id.rawValue)
        case .setEntries(let task, let start, let end, let entries):
            writer.number(task.rawValue)
            writer.number(start)
            writer.number(end &- start)
            writer.entries(entries, from: start)
        case .createSnapshot(let name, let version, let object, let message):
            writer.text(name)
            writer.number(version.rawValue)
            writer.optional(object) { $0.number($1.rawValue) }
            writer.text(message)
        case .deleteSnapshot(let name): writer.text(name)
        case .renameSnapshot(let from, let to):
            writer.text(from)
            writer.text(to)
        case .rollback(let version): writer.number(version.rawValue)
        }
    }

    /// The byte that says which change follows.
    enum Tag: UInt8 {
        case createObject = 1, renameObject, resizeObject, deleteObject, createTask, deleteTask, setEntries
        case createSnapshot, deleteSnapshot, renameSnapshot, rollback
    }

    private var tag: Tag {
        switch self {
        case .createObject: .createObject
        case .renameObject: .renameObject
        case .resizeObject: .resizeObject
        case .deleteObject: .deleteObject
        case .createTask: .createTask
        case .deleteTask: .deleteTask
        case .setEntries: .setEntries
        case .createSnapshot: .createSnapshot
        case .deleteSnapshot: .deleteSnapshot
        case .renameSnapshot: .renameSnapshot
        case .rollback: .rollback
        }
    }
}
