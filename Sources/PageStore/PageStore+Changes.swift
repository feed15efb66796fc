public import VMTypes

extension PageStore {
    /// The versions that changed `object` and can still be told apart, ascending: those of its layers, of its lineage, and
    /// the one that made it.
    ///
    /// What is listed may be gone when it is asked for: `view(of:at:)` says so.
    public func changes(of object: ObjectID) throws(StoreError) -> [Version] {
        guard let info = try self.object(object) else { throw Metadata.missing(object) }
        var found: Set<Version> = [info.born]
        // The young layers first: what is settled meanwhile is then seen twice rather than not at all.
        for record in state.withLock({ $0.young }) {
            let changes = record.layers.contains { $0.object == object }
                || record.operations.contains { if case .lineage(object, _, _, _) = $0 { true } else { false } }
            if changes { found.insert(record.version) }
        }
        try lmdb.read { (t) throws(StoreError) in
            try t.forEach(.versions, from: Key(object.rawValue), prefix: 8) { (key, value) throws(StoreError) in
                if try !VersionRow.decode(value, key: key).isGap { found.insert(Version(Key.field(key, 8) ?? 0)) }
                return true
            }
            try t.forEach(.lineage, from: Key(object.rawValue), prefix: 8) { (key, _) throws(StoreError) in
                found.insert(Version(Key.field(key, 8) ?? 0))
                return true
            }
        }
        return found.sorted()
    }
}
