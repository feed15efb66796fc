/// A root that was made as another version of its type, while it is being upgraded.
public struct RootUpgrade {
    /// The heap, within the upgrade's transaction.
    public let heap: PersistentHeap
    public let name: String
    /// The version that the root has.
    public let version: Int
    /// The layout that it was made with.
    public let layout: String
    let record: RootDirectory.Record

    /// The value as it is, of the type that it was made as. Throws `.layoutMismatch` for another type.
    public func value<Old: Persistable>(as type: Old.Type = Old.self) throws(HeapError) -> Old {
        try heap.requireLayout(record, name, Old.layout, RootDirectory.valueKind)
        return heap.space.load(record.value)
    }

    /// The collection as it is. Throws `.layoutMismatch` for another type. Whoever puts another in its place releases it.
    public func collection<Old: PersistentContainer>(as type: Old.Type = Old.self) throws(HeapError) -> Old {
        try heap.requireLayout(record, name, Old.layout, RootDirectory.containerKind)
        return Old.load(ContainerHandle(offset: record.value), in: heap.space)
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
        if let old = try olderRoot(name, Value.layout, version) {
            try transaction(message: "upgrade the root '\(name)' from version \(old.version) to \(version)") {
                let ref = try make(try upgrade(old))
                try replace(old, Value.layout, version, RootDirectory.valueKind, ref.offset)
                if old.record.kind == RootDirectory.valueKind { try space.free(old.record.value) }
            }
        }
        return try root(name, of: type, version: version, default: value())
    }

    /// The collection of that name; where it has an older version, `upgrade` makes another, or changes the old one, within one
    /// transaction. Throws as the other `root` with an upgrade does.
    public func root<Container: PersistentContainer>(
        _ name: String, of type: Container.Type = Container.self, version: Int, upgrade: (RootUpgrade) throws -> Container
    ) throws -> Container {
        if let old = try olderRoot(name, Container.layout, version) {
            try transaction(message: "upgrade the root '\(name)' from version \(old.version) to \(version)") {
                let handle = try Container.store(try upgrade(old), in: space)
                try replace(old, Container.layout, version, RootDirectory.containerKind, handle.offset)
                if old.record.kind == RootDirectory.valueKind { try space.free(old.record.value) }
            }
        }
        return try root(name, of: type, version: version)
    }

    private func olderRoot(_ name: String, _ layout: TypeLayout, _ version: Int) throws(HeapError) -> RootUpgrade? {
        _ = try checked(layout, of: name)
        guard let number = directory.find(name) else { return nil }
        let record = directory.record(number)
        guard Int(record.version) < version else { return nil }
        try space.requireWritable()
        return RootUpgrade(
            heap: self, name: name, version: Int(record.version), layout: directory.text(record.layout, record.layoutBytes),
            record: record)
    }

    private func replace(_ old: RootUpgrade, _ layout: TypeLayout, _ version: Int, _ kind: UInt32, _ value: Int) throws(HeapError) {
        guard let number = directory.find(old.name) else {
            throw HeapError(.noRoot, "the root '\(old.name)' was removed while it was upgraded")
        }
        var record = old.record
        record.version = UInt32(version)
        record.layout = try directory.put(layout.text)
        record.layoutBytes = UInt32(layout.text.utf8.count)
        record.kind = kind
        record.value = value
        directory.setRecord(number, record)
        try space.free(old.record.layout)
    }

    /// Takes a root away, and frees its value. Throws `.noRoot`; `.layoutMismatch` where it is a collection: name its type.
    public func removeRoot(_ name: String) throws(HeapError) {
        try space.requireWritable()
        let (number, record) = try requireRoot(name)
        guard record.kind == RootDirectory.valueKind else {
            throw HeapError(
                .layoutMismatch, "the root '\(name)' is a collection, \(directory.text(record.layout, record.layoutBytes))",
                advice: "Name its type, so that its elements are released too")
        }
        space.beginChange()
        defer { space.endChange() }
        try directory.remove(number)
        try space.free(record.value)
    }

    /// Takes a collection's root away, and releases the collection. Throws `.noRoot`, `.layoutMismatch`.
    public func removeRoot<Container: PersistentContainer>(_ name: String, of type: Container.Type) throws(HeapError) {
        try space.requireWritable()
        let (number, record) = try requireRoot(name)
        try requireLayout(record, name, Container.layout, RootDirectory.containerKind)
        space.beginChange()
        defer { space.endChange() }
        try directory.remove(number)
        try Container.release(ContainerHandle(offset: record.value), in: space)
    }

    private func requireRoot(_ name: String) throws(HeapError) -> (number: Int, record: RootDirectory.Record) {
        guard let number = directory.find(name) else {
            throw HeapError(.noRoot, "no root is named '\(name)'", advice: "`rootNames` lists them")
        }
        return (number, directory.record(number))
    }
}
