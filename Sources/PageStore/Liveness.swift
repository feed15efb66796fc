internal import VMTypes

/// What of an object's settled layers somebody can still see.
struct ObjectLiveness {
    var object: ObjectID
    /// Every settled version row, ascending.
    var rows: [(version: Version, row: VersionRow)] = []
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
        var live: [[Int]] = []
        var dead: [[Int]] = []
        var interval = 0
        var lastInterval = -1
        var lastDead = -1
        for (index, entry) in rows.enumerated() {
            while interval < sorted.count, sorted[interval] < entry.version { interval += 1 }
            guard !entry.row.isGap, views.contains(where: { $0.from <= entry.version && entry.version <= $0.through }) else {
                if interval == lastDead { dead[dead.count - 1].append(index) } else { dead.append([index]) }
                lastDead = interval
                continue
            }
            if interval == lastInterval { live[live.count - 1].append(index) } else { live.append([index]) }
            lastInterval = interval
        }
        return (live, dead)
    }
}

extension PageStore {
    /// Finds out for every object who sees it where: the head, snapshots, leases, policy, and, through lineage, clones
    /// and what was rolled back to. Called with `settling` held, so that nothing moves meanwhile.
    func liveness() throws(StoreError) -> [ObjectID: ObjectLiveness] {
        let leases = try leases.all()
        let (objects, kept, settled, young, tables) = try state.withLock { (state) throws(StoreError) in
            (
                try state.metadata.allObjects(), try wanted(&state), state.settled, state.young,
                state.others.compactMap(\.table)
            )
        }
        let (snapshots, retention) = kept
        var found: [ObjectID: ObjectLiveness] = [:]
        var lineage: [ObjectID: [Version: LineageRow]] = [:]
        try lmdb.read { (t) throws(StoreError) in
            for object in objects { found[object.id] = ObjectLiveness(object: object.id) }
            try t.forEach(.versions, from: Key()) { (key, value) throws(StoreError) in
                guard let id = Key.field(key, 0), let version = Key.field(key, 8) else { return true }
                let row = try VersionRow.decode(value, key: key)
                found[ObjectID(id), default: ObjectLiveness(object: ObjectID(id), isKnown: false)].rows.append((Version(version), row))
                return true
            }
            for object in objects { lineage[object.id] = try Metadata.lineage(of: object.id, t) }
        }
        for record in young {
            for case .lineage(let object, let source, let sourceVersion, let size) in record.operations {
                lineage[object, default: [:]][record.version] = LineageRow(source: source, sourceVersion: sourceVersion, size: size)
            }
        }
        let now = Self.now()
        var seen = Set<Segment>()
        func look(_ object: ObjectID, _ version: Version) throws(StoreError) {
            for segment in try segments(object, at: version, lineage: { lineage[$0] ?? [:] }) where seen.insert(segment).inserted {
                found[segment.object]?.views.append((segment.from, segment.through))
            }
        }
        for object in objects {
            func consider(_ wanted: Version) throws(StoreError) {
                guard object.born <= wanted, wanted < object.died else { return }
                try look(object.id, wanted)
            }
            if object.isLive { try look(object.id, max(settled, object.born)) }
            for snapshot in snapshots where snapshot.object == nil || snapshot.object == object.id { try consider(snapshot.version) }
            for lease in leases where lease.object == nil || lease.object == object.id { try consider(lease.version) }
            for table in tables where table.object == object.id && table.version != .infinity { try consider(table.version) }
            // An object that died in the journal lives on in the page store until its death is settled.
            if !object.isLive, object.died > settled { try look(object.id, settled) }
            let rows = (found[object.id]?.rows ?? []).filter { !$0.row.isGap }
            for (version, _) in rows.suffix(Int(retention.versions)) { try consider(version) }
            if retention.seconds > 0 {
                let horizon = now - Int64(retention.seconds) * 1_000_000_000
                for (version, row) in rows where row.time >= horizon { try consider(version) }
                // What was there when the span began is the newest of the older ones.
                if let older = rows.last(where: { $0.row.time < horizon }) { try consider(older.version) }
            }
            // Lineage that is still in the journal begins above what is settled.
            for row in lineage[object.id] ?? [:] where row.key > settled { try look(row.value.source, row.value.sourceVersion) }
        }
        return found
    }
}
