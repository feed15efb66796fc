internal import VMTypes

extension Verifier {
    /// Decodes every row of every table but `records`.
    func readTables(_ t: LMDB.Transaction) throws(StoreError) {
        func place(_ table: Table) -> String { "\(StoreFile.pages), table \(table.name)" }
        func rows(_ table: Table, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws(StoreError) -> Void)
            throws(StoreError)
        {
            try t.forEach(table, from: Key()) { (key, value) throws(StoreError) in
                attempt(place(table)) { () throws(StoreError) in try body(key, value) }
                return true
            }
        }
        try rows(.meta) { (key, value) throws(StoreError) in _ = try StoreMeta.decode(value, key: key) }
        try rows(.objects) { (key, value) throws(StoreError) in
            let info = try ObjectRow.decode(value, key: key).info
            objects[info.id] = info
            summary.objects += 1
        }
        try rows(.names) { (key, value) throws(StoreError) in
            let id = try NameRow.decode(value, key: key).object
            guard objects[id]?.isLive == true, objects[id].map({ Array($0.name.utf8) }) == [UInt8](key) else {
                throw StoreError(.damaged, "a name leads to object \(id), which does not have it")
            }
        }
        try rows(.versions) { (key, value) throws(StoreError) in
            let (object, version) = (ObjectID(Key.field(key, 0) ?? 0), Version(Key.field(key, 8) ?? 0))
            found[object, default: ChainRow()].add(key: key, value: value)
            let row = try VersionRow.decode(value, key: key)
            self.rows[object, default: []].append((version, row))
            summary.versions += 1
            if row.first > version { throw StoreError(.damaged, "version \(version) of object \(object) begins after itself") }
        }
        try rows(.lineage) { (key, value) throws(StoreError) in
            let (object, version) = (ObjectID(Key.field(key, 0) ?? 0), Version(Key.field(key, 8) ?? 0))
            found[object, default: ChainRow()].add(key: key, value: value)
            lineage[object, default: Lineage()].add(try LineageRow.decode(value, key: key), from: version)
        }
        try rows(.chains) { (key, value) throws(StoreError) in
            chains[ObjectID(Key.field(key, 0) ?? 0)] = try ChainRow.decode(value, key: key)
        }
        try rows(.snapshots) { (key, value) throws(StoreError) in snapshots.append(try SnapshotRow.decode(value, key: key).info) }
        try rows(.graveyard) { (key, value) throws(StoreError) in
            _ = try GraveRow.decode(value, key: key)
            let record = RecordKey(object: Key.field(key, 8) ?? 0, record: Key.field(key, 16) ?? 0)
            let isStaged = Key.field(key, 0) == 0
            guard let part = Key.part(key, 24), graves[record, default: ([], isStaged)].parts.insert(part).inserted else {
                throw StoreError(.damaged, "a part of record \(record.record) lies in the graveyard twice")
            }
        }
        try rows(.outbox) { (key, value) throws(StoreError) in _ = try OutboxRow.decode(value, key: key) }
    }

    /// Chains, objects and the states that are kept, as far as they are settled.
    func checkObjects(_ t: LMDB.Transaction) {
        let place = "\(StoreFile.pages), table versions"
        for object in Set(chains.keys).union(found.keys).sorted() {
            if chains[object] ?? ChainRow() != found[object] ?? ChainRow() {
                find(.damage, place, "the rows of object \(object) do not add up to its chain", object)
            }
            if objects[object] == nil { find(.damage, place, "object \(object) has versions and no row of its own", object) }
        }
        let settled = store.settledVersion
        for info in objects.values.sorted(by: { $0.id < $1.id }) where info.isLive {
            if info.born <= settled { checkState(info.id, at: settled, "the head of object \(info.id)", t) }
            if !info.name.isEmpty, (try? t.row(.names, Key(info.name), NameRow.self))?.object != info.id {
                find(.damage, "\(StoreFile.pages), table names", "the name '\(info.name)' of object \(info.id) is missing", info.id)
            }
        }
        for snapshot in snapshots {
            for info in objects.values.sorted(by: { $0.id < $1.id })
            where (snapshot.object ?? info.id) == info.id && info.born <= snapshot.version && snapshot.version < info.died {
                checkState(info.id, at: min(snapshot.version, settled), "snapshot '\(snapshot.name)' of object \(info.id)", t)
            }
        }
    }

    /// Everything that the state is made of is there.
    private func checkState(_ object: ObjectID, at version: Version, _ what: String, _ t: LMDB.Transaction) {
        do throws(StoreError) {
            let segments = try store.segments(object, at: version, lineage: { lineage[$0] ?? Lineage() })
            if let missing = segments.first(where: { objects[$0.object] == nil }) {
                throw StoreError(.damaged, "its pages come from object \(missing.object), which is not there")
            }
            _ = try store.settledLayers(of: segments, t)
        } catch { find(.damage, "\(StoreFile.pages), table versions", "\(what): \(error.message)", object) }
    }

    /// Nothing that is there has a number that is yet to be given out.
    func checkCounters(_ t: LMDB.Transaction) {
        let place = "\(StoreFile.pages), table meta"
        guard let meta = attempt(place, nil, { () throws(StoreError) in try t.row(.meta, StoreMeta.key, StoreMeta.self) }) else { return }
        guard let meta else { return find(.damage, place, "the meta row is missing") }
        if meta.store != store.journal.store { find(.damage, place, "the page store belongs to another store than the journal") }
        if let last = parts.keys.map(\.record).max(), last >= meta.nextRecord {
            find(.damage, place, "record \(last) is there, and \(meta.nextRecord) is the next to be made")
        }
        if let last = objects.keys.max(), last.rawValue >= meta.nextID {
            find(.damage, place, "object \(last) is there, and #\(meta.nextID) is the next to be made")
        }
        if let last = rows.values.compactMap({ $0.last?.version }).max(), last > meta.mark.settled {
            find(.damage, place, "version \(last) is there, and the store is settled up to \(meta.mark.settled) only")
        }
    }
}
