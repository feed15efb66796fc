public import VMTypes

extension CatalogChange {
    /// The changes that `encode` made `bytes` of.
    ///
    /// Any bytes may come: what is not the encoding of a list throws `.damaged`, at the cost of reading it.
    public static func decode(_ bytes: [UInt8]) throws(StoreError) -> [CatalogChange] {
        var reader = ByteReader(bytes)
        let format = try reader.byte()
        guard format == encodingFormat else {
            throw reader.damaged("they have format \(format), this build knows \(encodingFormat)")
        }
        // A change has two bytes at least: its tag and a field.
        let count = try reader.count(atLeast: 2)
        var changes: [CatalogChange] = []
        changes.reserveCapacity(count)
        for _ in 0..<count { changes.append(try CatalogChange(from: &reader)) }
        guard reader.isAtEnd else { throw reader.damaged("something follows the last change") }
        return changes
    }

    private init(from reader: inout ByteReader) throws(StoreError) {
        let byte = try reader.byte()
        guard let tag = Tag(rawValue: byte) else { throw reader.damaged("no change has the tag \(byte)") }
        switch tag {
        case .createObject:
            self = .createObject(
                id: ObjectID(try reader.number()), name: try reader.optionalText(), size: try reader.number(),
                residency: try reader.byte())
        case .renameObject:
            self = .renameObject(id: ObjectID(try reader.number()), name: try reader.optionalText())
        case .resizeObject: self = .resizeObject(id: ObjectID(try reader.number()), size: try reader.number())
        case .deleteObject: self = .deleteObject(id: ObjectID(try reader.number()))
        case .createTask:
            self = .createTask(
                id: TaskID(try reader.number()), name: try reader.text(), windowBase: try reader.number(),
                windowSize: try reader.number())
        case .deleteTask: self = .deleteTask(id: TaskID(try reader.number()))
        case .setEntries:
            let task = TaskID(try reader.number())
            let start = try reader.number()
            let end = start &+ (try reader.number())
            self = .setEntries(
                task: task, start: start, end: end, entries: try reader.entries(of: task, from: start))
        case .createSnapshot:
            self = .createSnapshot(
                name: try reader.text(), version: Version(try reader.number()),
                object: try reader.flag() ? ObjectID(try reader.number()) : nil, message: try reader.text())
        case .deleteSnapshot: self = .deleteSnapshot(name: try reader.text())
        case .renameSnapshot: self = .renameSnapshot(from: try reader.text(), to: try reader.text())
        case .rollback: self = .rollback(to: Version(try reader.number()))
        }
    }
}
