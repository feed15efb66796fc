public import VMTypes

extension PageStore {
    /// A number for a new object or task; never given out again.
    public func newID() -> UInt64 {
        state.withLock { state in
            defer { state.nextID += 1 }
            return state.nextID
        }
    }

    /// Gives out no number up to `id` from now on: it names something that came from elsewhere.
    public func skipIDs(through id: UInt64) { state.withLock { $0.nextID = max($0.nextID, id + 1) } }

    /// The live object of that name, or nil.
    public func object(named name: String) throws(StoreError) -> ObjectInfo? {
        try state.withLock { (state) throws(StoreError) in try state.metadata.object(named: name) }
    }

    /// The object of that number, dead ones that something still holds included, or nil.
    public func object(_ id: ObjectID) throws(StoreError) -> ObjectInfo? {
        try state.withLock { (state) throws(StoreError) in try state.metadata.object(id) }
    }

    /// Every object that lives at the last version or that a kept version still holds; in order of their numbers.
    public func objects() throws(StoreError) -> [ObjectInfo] {
        try state.withLock { (state) throws(StoreError) in try state.metadata.allObjects() }
    }

    /// The states that `object` at `version` takes its pages from, itself first: copies of copies make a chain of them.
    public func lineage(of object: ObjectID, at version: Version) throws(StoreError) -> [(object: ObjectID, version: Version)] {
        try state.withLock { (state) throws(StoreError) in
            try segments(object, at: version, &state)
        }.map { ($0.object, $0.through) }
    }

    /// Every snapshot, by version and name.
    public func snapshots() throws(StoreError) -> [SnapshotInfo] {
        try state.withLock { (state) throws(StoreError) in
            try state.metadata.snapshots().sorted { ($0.version, $0.name) < ($1.version, $1.name) }
        }
    }

    public func snapshot(named name: String) throws(StoreError) -> SnapshotInfo? {
        try state.withLock { (state) throws(StoreError) in try state.metadata.snapshot(named: name) }
    }

    public var retention: Retention { state.withLock { $0.metadata.retention } }

    /// Every version that a living process pins.
    public func pinned() throws(StoreError) -> [LeaseInfo] { try leases.all() }

    /// The process that writes, where one does.
    public func writerProcess() throws(StoreError) -> Int32? { try leases.writer() }

    /// Commits that the catalog may not have heard of: those of the outbox and of the journal, after `mark`, in order.
    public func commits(after mark: Version) throws(StoreError) -> [CommitInfo] {
        let young = state.withLock { state in
            state.young[state.young.partitioningIndex { $0.version > mark }...].map { record in
                CommitInfo(
                    version: record.version, time: record.header.time,
                    pages: record.layers.reduce(0) { $0 + $1.entries.count }, operations: record.operations)
            }
        }
        var all = try outbox(after: mark)
        if let last = all.last?.version { all.append(contentsOf: young.filter { $0.version > last }) } else { all = young }
        return all
    }

    /// The settled part of the above.
    public func outbox(after mark: Version) throws(StoreError) -> [CommitInfo] {
        var all: [CommitInfo] = []
        try lmdb.read { (t) throws(StoreError) in
            try t.forEach(.outbox, from: Key(mark.rawValue &+ 1)) { (key, value) throws(StoreError) in
                all.append(try OutboxRow.decode(value, key: key).commit)
                return true
            }
        }
        return all
    }

    /// Forgets the outbox up to `mark`, which the catalog has on its own disk.
    public func trimOutbox(through mark: Version) throws(StoreError) {
        try requireWriter()
        let versions = try lmdb.read { (t) throws(StoreError) in try outboxVersions(through: mark, t) }
        guard !versions.isEmpty else { return }
        try exclusively { () throws(StoreError) in
            try lmdb.write { (t) throws(StoreError) in for version in versions { try t.delete(.outbox, Key(version)) } }
        }
    }

    /// The rows that the outbox has up to `mark`.
    func outboxVersions(through mark: Version, _ t: LMDB.Transaction) throws(StoreError) -> [UInt64] {
        var versions: [UInt64] = []
        try t.forEach(.outbox, from: Key()) { (key, _) throws(StoreError) in
            guard let version = Key.field(key, 0), version <= mark.rawValue else { return false }
            versions.append(version)
            return true
        }
        return versions
    }
}
