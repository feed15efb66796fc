internal import HashTreeCollections
internal import VMTypes

/// Objects, names, snapshots, lineage and retention as of the last commit: what the page store's tables say, under what
/// the journal has not yet settled. Loaded row by row as it is asked for; guarded by the store's state lock.
///
/// A copy shares all that neither changes: a commit of several operations is tried on one first.
struct Metadata {
    private let lmdb: LMDB
    private var objects: TreeDictionary<ObjectID, ObjectInfo?> = [:]
    private var names: TreeDictionary<String, ObjectID?> = [:]
    private var lineages: TreeDictionary<ObjectID, Lineage> = [:]
    private var loadedSnapshots: TreeDictionary<String, SnapshotInfo>?
    var retention: Retention

    init(lmdb: LMDB, retention: Retention) {
        self.lmdb = lmdb
        self.retention = retention
    }

    mutating func object(_ id: ObjectID) throws(StoreError) -> ObjectInfo? {
        if let known = objects[id] { return known }
        let row = try lmdb.read { (t) throws(StoreError) in try t.row(.objects, Key(id.rawValue), ObjectRow.self) }
        objects[id] = .some(row?.info)
        return row?.info
    }

    /// The live object of that name.
    mutating func object(named name: String) throws(StoreError) -> ObjectInfo? {
        guard Self.isValid(name) else { return nil }
        if case .some(let known) = names[name] { return try known.flatMap { (id) throws(StoreError) in try object(id) } }
        let row = try lmdb.read { (t) throws(StoreError) in try t.row(.names, Key(name), NameRow.self) }
        names[name] = .some(row?.object)
        guard let row else { return nil }
        return try object(row.object)
    }

    mutating func lineage(of object: ObjectID) throws(StoreError) -> Lineage {
        if let known = lineages[object] { return known }
        let rows = try lmdb.read { (t) throws(StoreError) in try Self.lineage(of: object, t) }
        lineages[object] = rows
        return rows
    }

    static func lineage(of object: ObjectID, _ t: LMDB.Transaction) throws(StoreError) -> Lineage {
        var lineage = Lineage()
        try t.forEach(.lineage, from: Key(object.rawValue, 0), prefix: 8) { (key, value) throws(StoreError) in
            lineage.add(try LineageRow.decode(value, key: key), from: Version(Key.field(key, 8) ?? 0))
            return true
        }
        return lineage
    }

    /// Every snapshot, in no order.
    mutating func snapshots() throws(StoreError) -> some Collection<SnapshotInfo> { try snapshotsByName().values }

    mutating func snapshot(named name: String) throws(StoreError) -> SnapshotInfo? { try snapshotsByName()[name] }

    private mutating func snapshotsByName() throws(StoreError) -> TreeDictionary<String, SnapshotInfo> {
        if let loadedSnapshots { return loadedSnapshots }
        var all: TreeDictionary<String, SnapshotInfo> = [:]
        try lmdb.read { (t) throws(StoreError) in
            try t.forEach(.snapshots, from: Key()) { (key, value) throws(StoreError) in
                let info = try SnapshotRow.decode(value, key: key).info
                all[info.name] = info
                return true
            }
        }
        loadedSnapshots = all
        return all
    }

    /// All objects, the dead ones too that snapshots may still hold, in order of their numbers.
    mutating func allObjects() throws(StoreError) -> [ObjectInfo] {
        var all: [ObjectID: ObjectInfo] = [:]
        try lmdb.read { (t) throws(StoreError) in
            try t.forEach(.objects, from: Key()) { (key, value) throws(StoreError) in
                let info = try ObjectRow.decode(value, key: key).info
                all[info.id] = info
                return true
            }
        }
        for (id, info) in objects { all[id] = info }
        return all.values.sorted { $0.id < $1.id }
    }

    /// A name is 1…200 bytes of UTF-8 without `@`, `/`, control characters; LMDB's keys end at 511 bytes.
    static func isValid(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 200
            && name.unicodeScalars.allSatisfy { $0.value >= 32 && $0 != "@" && $0 != "/" && $0.value != 127 }
    }

    // MARK: Changes

    /// Throws what forbids `operation`; nothing has changed then.
    mutating func validate(_ operation: StoreOperation) throws(StoreError) {
        switch operation {
        case .createObject(_, let name, _, _):
            if !name.isEmpty { try checkFree(name) }
        case .renameObject(let id, let name):
            try live(id)
            if !name.isEmpty, try object(named: name)?.id != id { try checkFree(name) }
        case .resizeObject(let id, _), .deleteObject(let id): try live(id)
        case .lineage(_, let source, _, _):
            guard try object(source) != nil else { throw Self.missing(source) }
        case .createSnapshot(let name, _, _, _):
            try checkSnapshotFree(name)
        case .deleteSnapshot(let name):
            guard try snapshot(named: name) != nil else { throw Self.missing(snapshot: name) }
        case .renameSnapshot(let from, let to):
            guard try snapshot(named: from) != nil else { throw Self.missing(snapshot: from) }
            if from != to { try checkSnapshotFree(to) }
        case .setRetention, .mapChanges, .message: break
        }
    }

    private mutating func live(_ id: ObjectID) throws(StoreError) {
        guard try object(id)?.isLive == true else { throw Self.missing(id) }
    }

    private mutating func checkFree(_ name: String) throws(StoreError) {
        guard Self.isValid(name) else {
            throw StoreError(
                .invalid, "'\(name)' is no object name", advice: "Use 1 to 200 bytes without '@', '/' and control characters")
        }
        if try object(named: name) != nil {
            throw StoreError(.exists, "an object named '\(name)' is there", advice: "Choose another name")
        }
    }

    private mutating func checkSnapshotFree(_ name: String) throws(StoreError) {
        guard Self.isValid(name), UInt64(name) == nil else {
            throw StoreError(
                .invalid, "'\(name)' is no snapshot name",
                advice: "Use 1 to 200 bytes without '@', '/' and control characters, and not a number alone")
        }
        if try snapshot(named: name) != nil {
            throw StoreError(
                .exists, "a snapshot named '\(name)' is there", advice: "Choose another name, or delete that one first")
        }
    }

    static func missing(_ id: ObjectID) -> StoreError {
        StoreError(.notFound, "object \(id) is not there", advice: "`varve ls` lists the objects")
    }

    static func missing(snapshot name: String) -> StoreError {
        StoreError(.notFound, "no snapshot is named '\(name)'", advice: "`varve snapshot list` names them")
    }

    /// Applies an operation of the commit `version`; it has been validated, or was when it was journaled.
    mutating func apply(_ operation: StoreOperation, version: Version, time: Int64) throws(StoreError) {
        switch operation {
        case .createObject(let id, let name, let size, let residency):
            objects[id] = ObjectInfo(id: id, name: name, size: size, residency: residency, born: version, died: .infinity)
            if !name.isEmpty { names[name] = .some(id) }
        case .renameObject(let id, let name):
            guard var info = try object(id) else { return }
            if !info.name.isEmpty, try object(named: info.name)?.id == id { names[info.name] = .some(nil) }
            info.name = name
            objects[id] = info
            if !name.isEmpty { names[name] = .some(id) }
        case .resizeObject(let id, let size):
            guard var info = try object(id) else { return }
            info.size = size
            objects[id] = info
        case .deleteObject(let id):
            guard var info = try object(id) else { return }
            if !info.name.isEmpty, try object(named: info.name)?.id == id { names[info.name] = .some(nil) }
            info.died = version
            objects[id] = info
        case .lineage(let id, let source, let sourceVersion, let size):
            var rows = try lineage(of: id)
            rows.add(LineageRow(source: source, sourceVersion: sourceVersion, size: size), from: version)
            lineages[id] = rows
            guard var info = try object(id) else { return }
            info.size = size
            objects[id] = info
        case .createSnapshot(let name, let at, let object, let message):
            var all = try snapshotsByName()
            all[name] = SnapshotInfo(
                name: name, version: at == .infinity ? version : at, object: object, time: time, message: message)
            loadedSnapshots = all
        case .deleteSnapshot(let name):
            var all = try snapshotsByName()
            all[name] = nil
            loadedSnapshots = all
        case .renameSnapshot(let from, let to):
            var all = try snapshotsByName()
            if var info = all.removeValue(forKey: from) {
                info.name = to
                all[to] = info
            }
            loadedSnapshots = all
        case .setRetention(let retention): self.retention = retention
        case .mapChanges, .message: break
        }
    }

    /// Forgets an object that nothing holds any more.
    mutating func forget(_ id: ObjectID) {
        objects[id] = nil
        lineages[id] = nil
    }
}
