/// A root that was made as another version of its type, while it is being upgraded.
public struct RootUpgrade {
    /// The heap, within the upgrade's transaction.
    public let heap: PersistentHeap
    public var name: String { root.name }
    /// The version that the root has.
    public var version: Int { Int(root.record.version) }
    /// The layout that it was made with.
    public var layout: String { root.layout }
    let root: RootDirectory.Root

    /// The value as it is, of the type that it was made as. Throws `.layoutMismatch` for another type.
    public func value<Old: Persistable>(as type: Old.Type = Old.self) throws(HeapError) -> Old {
        try heap.requireLayout(root, Old.layout.text, RootDirectory.valueKind)
        return heap.space.load(root.record.value)
    }

    /// The collection as it is. Throws `.layoutMismatch` for another type. It may be changed, and be the upgrade's answer; whoever
    /// puts another in its place releases it.
    public func collection<Old: PersistentContainer>(as type: Old.Type = Old.self) throws(HeapError) -> Old {
        try heap.requireLayout(root, Old.layout.text, RootDirectory.containerKind)
        return Old.load(ContainerHandle(offset: root.record.value), in: heap.space)
    }
}

extension PersistentHeap {
    /// The root of that name; where it has an older version, `upgrade` makes its value anew, within one transaction.
    ///
    /// ```swift
    /// let account = try heap.root("account", of: AccountV2.self, version: 2, default: AccountV2()) { old in
    ///     AccountV2(try old.value(as: AccountV1.self))
    /// }
    /// ```
    ///
    /// The version is the program's: 1 where none is given. After the upgrade was committed, references to the old value mean
    /// nothing; where `upgrade` throws, nothing has changed. It gets every older version, one call for each root.
    /// - Throws: As the other `root`; `.versionMismatch` where the root is newer; what a transaction and `upgrade` throw.
    public func root<Value: Persistable>(
        _ name: String, of type: Value.Type = Value.self, version: Int, default value: @autoclosure () -> Value,
        upgrade: (RootUpgrade) throws -> Value
    ) throws -> Root<Value> {
        try upgradeRoot(name, Value.layout, version) { old in
            let ref = try make(try upgrade(old))
            try directory.replace(
                name, layout: Value.layout.text, version: version, kind: RootDirectory.valueKind, value: ref.offset)
            if old.root.record.kind == RootDirectory.valueKind { try space.free(old.root.record.value) }
        }
        return try root(name, of: type, version: version, default: value())
    }

    /// The collection of that name; where it has an older version, `upgrade` makes another, or changes the old one, within one
    /// transaction. Throws as the other `root` with an upgrade does.
    public func root<Container: PersistentContainer>(
        _ name: String, of type: Container.Type = Container.self, version: Int, upgrade: (RootUpgrade) throws -> Container
    ) throws -> Container {
        try upgradeRoot(name, Container.layout, version) { old in
            let container = try upgrade(old)
            let record = old.root.record
            // The old collection itself, changed in place, belongs to the root already.
            let isSame = record.kind == RootDirectory.containerKind && record.value == container.handle.offset && container.space === space
            let handle = isSame ? container.handle : try Container.store(container, in: space)
            try directory.replace(
                name, layout: Container.layout.text, version: version, kind: RootDirectory.containerKind, value: handle.offset)
            if record.kind == RootDirectory.valueKind { try space.free(record.value) }
        }
        return try root(name, of: type, version: version)
    }

    /// Runs `change` in a transaction where the root has an older version, read within the transaction: another thread may have
    /// upgraded it meanwhile.
    private func upgradeRoot(_ name: String, _ layout: TypeLayout, _ version: Int, _ change: (RootUpgrade) throws -> Void) throws {
        _ = try checked(layout, of: name)
        guard let before = try directory.find(name), Int(before.record.version) < version else { return }
        try space.requireWritable()
        try requireVersion(version, of: name)
        try transaction(message: "upgrade the root '\(name)' from version \(before.record.version) to \(version)") {
            guard let old = try directory.find(name), Int(old.record.version) < version else { return }
            try change(RootUpgrade(heap: self, root: old))
        }
    }

    /// Takes a root away, and frees its value. Throws `.noRoot`; `.layoutMismatch` where it is a collection: name its type.
    public func removeRoot(_ name: String) throws(HeapError) {
        try space.requireWritable()
        space.beginChange()
        defer { space.endChange() }
        let gone = try directory.remove(name) { root throws(HeapError) in
            guard root.record.kind == RootDirectory.valueKind else {
                throw HeapError(
                    .layoutMismatch, "the root '\(name)' is a collection, \(root.layout)",
                    advice: "Name its type, so that its elements are released too")
            }
        }
        try space.free(gone.value)
    }

    /// Takes a collection's root away, and releases the collection. Throws `.noRoot`, `.layoutMismatch`.
    public func removeRoot<Container: PersistentContainer>(_ name: String, of type: Container.Type) throws(HeapError) {
        try space.requireWritable()
        space.beginChange()
        defer { space.endChange() }
        let gone = try directory.remove(name) { root throws(HeapError) in
            try requireLayout(root, Container.layout.text, RootDirectory.containerKind)
        }
        try Container.release(ContainerHandle(offset: gone.value), in: space)
    }
}
