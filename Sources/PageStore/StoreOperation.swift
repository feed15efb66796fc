public import VMTypes

/// Where an object's pages are to live while it is mapped. Recorded; every mapping is exclusive so far.
public enum Residency: UInt8, Sendable, CaseIterable {
    /// In memory that every mapping shares.
    case shared = 0
    /// In one mapping, straight from the page store.
    case exclusive = 1
}

/// A change to a store's names, sizes, snapshots and lineage: part of the commit that makes it true.
public enum StoreOperation: Hashable, Sendable {
    case createObject(id: ObjectID, name: String, size: UInt64, residency: Residency)
    case renameObject(id: ObjectID, name: String)
    /// The layer in the same commit carries what shrinking cuts off.
    case resizeObject(id: ObjectID, size: UInt64)
    case deleteObject(id: ObjectID)
    /// From this version on the object's pages are `source`'s at `sourceVersion`, under later layers.
    case lineage(object: ObjectID, source: ObjectID, sourceVersion: Version, size: UInt64)
    case createSnapshot(name: String, version: Version, object: ObjectID?, message: String)
    case deleteSnapshot(name: String)
    case renameSnapshot(from: String, to: String)
    case setRetention(Retention)
    /// Map changes: opaque here, handed on to the catalog through the outbox.
    case mapChanges([UInt8])
    /// What the committer said of the commit.
    case message(String)

    /// Whether other objects are there afterwards, or under other names.
    public var changesObjects: Bool {
        switch self {
        case .createObject, .renameObject, .deleteObject: true
        default: false
        }
    }

    func encode(to writer: inout ByteWriter) {
        switch self {
        case .createObject(let id, let name, let size, let residency):
            writer.put(UInt8(1)); writer.put(id.rawValue); writer.put(name); writer.put(size); writer.put(residency.rawValue)
        case .renameObject(let id, let name):
            writer.put(UInt8(2)); writer.put(id.rawValue); writer.put(name)
        case .resizeObject(let id, let size):
            writer.put(UInt8(3)); writer.put(id.rawValue); writer.put(size)
        case .deleteObject(let id):
            writer.put(UInt8(4)); writer.put(id.rawValue)
        case .lineage(let object, let source, let version, let size):
            writer.put(UInt8(5)); writer.put(object.rawValue); writer.put(source.rawValue)
            writer.put(version.rawValue); writer.put(size)
        case .createSnapshot(let name, let version, let object, let message):
            writer.put(UInt8(6)); writer.put(name); writer.put(version.rawValue)
            writer.put(object?.rawValue ?? 0); writer.put(message)
        case .deleteSnapshot(let name):
            writer.put(UInt8(7)); writer.put(name)
        case .renameSnapshot(let from, let to):
            writer.put(UInt8(8)); writer.put(from); writer.put(to)
        case .setRetention(let retention):
            writer.put(UInt8(9)); writer.put(retention.versions); writer.put(retention.seconds)
        case .mapChanges(let blob):
            writer.put(UInt8(10)); writer.put(blob)
        case .message(let text):
            writer.put(UInt8(11)); writer.put(text)
        }
    }

    init(from reader: inout ByteReader) throws(StoreError) {
        let kind: UInt8 = try reader.get()
        switch kind {
        case 1:
            let id = ObjectID(try reader.get())
            let name = try reader.getString()
            let size: UInt64 = try reader.get()
            let residency = Residency(rawValue: try reader.get()) ?? .shared
            self = .createObject(id: id, name: name, size: size, residency: residency)
        case 2: self = .renameObject(id: ObjectID(try reader.get()), name: try reader.getString())
        case 3: self = .resizeObject(id: ObjectID(try reader.get()), size: try reader.get())
        case 4: self = .deleteObject(id: ObjectID(try reader.get()))
        case 5:
            self = .lineage(
                object: ObjectID(try reader.get()), source: ObjectID(try reader.get()),
                sourceVersion: Version(try reader.get()), size: try reader.get())
        case 6:
            let name = try reader.getString()
            let version = Version(try reader.get())
            let object: UInt64 = try reader.get()
            self = .createSnapshot(
                name: name, version: version, object: object == 0 ? nil : ObjectID(object), message: try reader.getString())
        case 7: self = .deleteSnapshot(name: try reader.getString())
        case 8: self = .renameSnapshot(from: try reader.getString(), to: try reader.getString())
        case 9: self = .setRetention(Retention(versions: try reader.get(), seconds: try reader.get()))
        case 10: self = .mapChanges(try reader.getBlob())
        case 11: self = .message(try reader.getString())
        default: throw StoreError(.damaged, "an operation of unknown kind \(kind) stands in the journal")
        }
    }

    static func encode(_ operations: [StoreOperation]) -> [UInt8] {
        if operations.isEmpty { return [] }
        var writer = ByteWriter()
        for operation in operations { operation.encode(to: &writer) }
        return writer.bytes
    }

    static func decode(_ bytes: [UInt8]) throws(StoreError) -> [StoreOperation] {
        var operations: [StoreOperation] = []
        var failure: StoreError?
        bytes.withUnsafeBytes { raw in
            var reader = ByteReader(raw, what: "a list of operations")
            do throws(StoreError) {
                while reader.remaining > 0 { operations.append(try StoreOperation(from: &reader)) }
            } catch { failure = error }
        }
        if let failure { throw failure }
        return operations
    }
}

/// Which versions are kept beside the head, snapshots, leases and lineage.
public struct Retention: Hashable, Sendable {
    /// The newest versions of the store that stay whole, the head among them.
    public var versions: UInt32
    /// Versions younger than this many seconds stay.
    public var seconds: UInt32

    public init(versions: UInt32, seconds: UInt32) {
        self.versions = versions
        self.seconds = seconds
    }

    /// What a new store keeps: its eight newest versions.
    public static let standard = Retention(versions: 8, seconds: 0)
}
