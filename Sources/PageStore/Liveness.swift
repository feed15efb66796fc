internal import VMTypes

/// What of an object's settled layers somebody can still see.
struct ObjectLiveness {
    typealias Layer = (version: Version, row: VersionRow)

    var object: ObjectID
    /// Every settled version row, ascending.
    var rows: [Layer] = []
    /// The versions at which it is looked at, each with the version its lineage makes older layers invisible from.
    var views: [(from: Version, through: Version)] = []
    /// False where the object's own row is missing: damage, so that nothing of it may be taken for dead.
    var isKnown = true

    /// Groups of rows between which no boundary lies: within one, only the newest bytes of a page are seen. Rows that
    /// nobody sees, and gaps, are in `dead`.
    func groups() -> (live: [[Int]], dead: [[Int]]) {
        var boundaries = Set(views.map(\.through))
        for view in views where view.from > .zero { boundaries.insert(view.from.previous) }
        let sorted = boundaries.sorted()
        let views = views.sorted { $0.from < $1.from }
        var begun = 0
        // The last version that a view which has begun reaches.
        var through: Version?
        var live: [[Int]] = []
        var dead: [[Int]] = []
        var interval = 0
        var lastInterval = -1
        var lastDead = -1
        for (index, entry) in rows.enumerated() {
            while interval < sorted.count, sorted[interval] < entry.version { interval += 1 }
            while begun < views.count, views[begun].from <= entry.version {
                through = max(through ?? .zero, views[begun].through)
                begun += 1
            }
            guard !entry.row.isGap, let through, entry.version <= through else {
                if interval == lastDead { dead[dead.count - 1].append(index) } else { dead.append([index]) }
                lastDead = interval
                continue
            }
            if interval == lastInterval { live[live.count - 1].append(index) } else { live.append([index]) }
            lastInterval = interval
        }
        return (live, dead)
    }

    /// The live groups' layers themselves.
    var liveGroups: [[Layer]] { groups().live.map { $0.map { rows[$0] } } }
}

extension PageStore {
    /// Finds out for every object, or for `object` alone, who sees it where: the head, snapshots, leases, policy, and,
    /// through lineage, clones and what was rolled back to. Called with `settling` held, so that nothing moves meanwhile.
    func liveness(of object: ObjectID? = nil) throws(StoreError) -> [ObjectID: ObjectLiveness] {
        let leases = try leases.all()
        var lineage = try settledLineage()
        let (objects, kept, settled, flushed, young, tables) = try state.withLock { (state) throws(StoreError) in
            for record in state.young {
                for case .lineage(let object, let source, let sourceVersion, let size) in record.operations {
                    let row = LineageRow(source: source, sourceVersion: sourceVersion, size: size)
                    lineage[object, default: Lineage()].add(row, from: record.version)
                }
            }
            return (
                try whoMaySee(object, lineage, &state), try wanted(&state), state.settled, state.flushed, state.young,
                state.others.compactMap(\.table)
            )
        }
        var found = try settledRows(of: objects, only: object)
        let snapshots = SnapshotVersions(Mutant.isPlanted(.mergeForgetsSnapshots) ? [] : kept.snapshots)
        let retention = kept.retention
        // Layers in the journal are the newest: what policy keeps of settled ones is fewer by as many as are sure to stay.
        var youngLayers: [ObjectID: Int] = [:]
        for record in young where record.version <= flushed {
            for layer in record.layers { youngLayers[layer.object, default: 0] += 1 }
        }
        let now = Self.now()
        var seen = Set<Segment>()
        func look(_ object: ObjectID, _ version: Version) throws(StoreError) {
            for segment in try segments(object, at: version, lineage: { lineage[$0] ?? Lineage() }) where seen.insert(segment).inserted {
                found[segment.object]?.views.append((segment.from, segment.through))
            }
        }
        for object in objects {
            func consider(_ wanted: Version) throws(StoreError) {
                guard object.born <= wanted, wanted < object.died else { return }
                try look(object.id, wanted)
            }
            let all = found[object.id]?.rows ?? []
            if object.isLive { try look(object.id, max(settled, object.born)) }
            for version in snapshots.boundaries(of: object, between: lineage[object.id] == nil ? all.map(\.version) : nil) {
                try consider(version)
            }
            for lease in leases where lease.object == nil || lease.object == object.id { try consider(lease.version) }
            for table in tables where table.object == object.id && table.version != .infinity { try consider(table.version) }
            // An object that died in the journal lives on in the page store until its death is settled.
            if !object.isLive, object.died > settled { try look(object.id, settled) }
            let rows = all.filter { !$0.row.isGap }
            let versions = max(0, Int(retention.versions) - youngLayers[object.id, default: 0])
            for (version, _) in rows.suffix(versions) { try consider(version) }
            if retention.seconds > 0 {
                let horizon = now - Int64(retention.seconds) * 1_000_000_000
                for (version, row) in rows where row.time >= horizon { try consider(version) }
                // What was there when the span began is the newest of the older ones.
                if let older = rows.last(where: { $0.row.time < horizon }) { try consider(older.version) }
            }
            // Lineage that is still in the journal begins above what is settled.
            for (from, row) in lineage[object.id]?.rows ?? [] where from > settled { try look(row.source, row.sourceVersion) }
        }
        return found
    }

    private func settledLineage() throws(StoreError) -> [ObjectID: Lineage] {
        var lineage: [ObjectID: Lineage] = [:]
        try lmdb.read { (t) throws(StoreError) in
            try t.forEach(.lineage, from: Key()) { (key, value) throws(StoreError) in
                let object = ObjectID(Key.field(key, 0) ?? 0)
                lineage[object, default: Lineage()].add(try LineageRow.decode(value, key: key), from: Version(Key.field(key, 8) ?? 0))
                return true
            }
        }
        return lineage
    }

    /// The objects that may show pages of `object`: itself and whatever has lineage; all objects, where it is nil.
    private func whoMaySee(_ object: ObjectID?, _ lineage: [ObjectID: Lineage], _ state: inout State)
        throws(StoreError) -> [ObjectInfo]
    {
        guard let object else { return try state.metadata.allObjects() }
        var found: [ObjectInfo] = []
        for id in Set(lineage.keys).union([object]).sorted() {
            if let info = try state.metadata.object(id) { found.append(info) }
        }
        return found
    }

    /// The version rows of all objects, or of `objects` alone.
    private func settledRows(of objects: [ObjectInfo], only: ObjectID?) throws(StoreError) -> [ObjectID: ObjectLiveness] {
        var found: [ObjectID: ObjectLiveness] = [:]
        for object in objects { found[object.id] = ObjectLiveness(object: object.id) }
        try lmdb.read { (t) throws(StoreError) in
            func add(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws(StoreError) -> Bool {
                guard let id = Key.field(key, 0), let version = Key.field(key, 8) else { return true }
                let row = try VersionRow.decode(value, key: key)
                found[ObjectID(id), default: ObjectLiveness(object: ObjectID(id), isKnown: false)].rows.append((Version(version), row))
                return true
            }
            guard only != nil else { return try t.forEach(.versions, from: Key(), add) }
            for object in objects { try t.forEach(.versions, from: Key(object.id.rawValue, 0), prefix: 8, add) }
        }
        return found
    }
}

/// The versions that snapshots name, in order, so that an object with few layers asks about few of them.
private struct SnapshotVersions {
    private var ofStore: [Version] = []
    private var ofObject: [ObjectID: [Version]] = [:]

    init(_ snapshots: Set<SnapshotInfo>) {
        for snapshot in snapshots {
            if let object = snapshot.object { ofObject[object, default: []].append(snapshot.version) } else { ofStore.append(snapshot.version) }
        }
        ofStore.sort()
        for object in ofObject.keys { ofObject[object]?.sort() }
    }

    /// The versions at which snapshots look at an object. Where `layers` are all that it consists of, one of those between
    /// two layers stands for the others.
    func boundaries(of object: ObjectInfo, between layers: [Version]?) -> [Version] {
        let own = ofObject[object.id] ?? []
        guard let layers else { return ofStore + own }
        var found: [Version] = []
        for (index, layer) in layers.enumerated() {
            let end = min(index + 1 < layers.count ? layers[index + 1] : .infinity, object.died)
            for versions in [ofStore, own] {
                if let last = last(of: versions, below: end), last >= layer { found.append(last) }
            }
        }
        return found
    }

    private func last(of versions: [Version], below end: Version) -> Version? {
        var low = 0
        var high = versions.count
        while low < high {
            let middle = (low + high) / 2
            if versions[middle] < end { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? versions[low - 1] : nil
    }
}
