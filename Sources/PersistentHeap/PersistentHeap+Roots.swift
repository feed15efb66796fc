extension PersistentHeap {
    /// The names of the heap's roots, in the order in which they were made.
    public var rootNames: [String] { space.isClosed ? [] : directory.names() }

    /// The root of that name, which is made with the default where it is not there.
    ///
    /// - Throws: `.layoutMismatch`, showing both layouts, where the root was made of another type, or of the type as it was
    ///   before its fields changed; `.versionMismatch`; `.unsuitableType`; `.noRoot` in a read-only heap; `.full`.
    public func root<Value: Persistable>(
        _ name: String, of type: Value.Type = Value.self, version: Int = 1, default value: @autoclosure () -> Value
    ) throws(HeapError) -> Root<Value> {
        let layout = try checked(Value.layout, of: name)
        if let number = directory.find(name) {
            return Root(space: space, ref: Ref(offset: try place(of: number, name, layout, version, RootDirectory.valueKind)))
        }
        try requireNew(name, version)
        let first = value()
        space.beginChange()
        defer { space.endChange() }
        let ref = try make(first)
        do throws(HeapError) {
            try directory.add(name, layout: layout.text, version: version, kind: RootDirectory.valueKind, value: ref.offset)
        } catch {
            try? free(ref)
            throw error
        }
        return Root(space: space, ref: ref)
    }

    /// The collection of that name, which is made empty where it is not there. Throws as the other `root` does.
    public func root<Container: PersistentContainer>(
        _ name: String, of type: Container.Type = Container.self, version: Int = 1
    ) throws(HeapError) -> Container {
        let layout = try checked(Container.layout, of: name)
        if let number = directory.find(name) {
            let handle = try place(of: number, name, layout, version, RootDirectory.containerKind)
            return try Container(validating: ContainerHandle(offset: handle), in: space)
        }
        try requireNew(name, version)
        space.beginChange()
        defer { space.endChange() }
        let container = try Container.create(in: space)
        let handle = try Container.store(container, in: space)
        do throws(HeapError) {
            try directory.add(name, layout: layout.text, version: version, kind: RootDirectory.containerKind, value: handle.offset)
        } catch {
            try? Container.release(handle, in: space)
            throw error
        }
        return container
    }

    /// Refuses a type that can't be kept here.
    func checked(_ layout: TypeLayout, of name: String) throws(HeapError) -> TypeLayout {
        if space.isClosed { throw HeapError(.wrongState, "the heap was closed", advice: "Open it again") }
        if let problem = layout.problems.first {
            throw HeapError(.unsuitableType, "the root '\(name)' can't be of type \(layout.text): \(problem)")
        }
        if layout.holdsPointers, isRelocated {
            throw HeapError(
                .unsuitableType, "the root '\(name)' of type \(layout.text) holds raw pointers, and the heap is not at its home address",
                advice: "Use `Ref` in place of pointers, or open the heap where its address is free")
        }
        return layout
    }

    func requireNew(_ name: String, _ version: Int) throws(HeapError) {
        guard !isReadOnly else { throw HeapError(.noRoot, "no root is named '\(name)'", advice: "`rootNames` lists them") }
        guard !name.isEmpty, name.utf8.count <= 1000, version >= 0, version <= Int(UInt32.max) else {
            throw HeapError(.invalid, "no root can have the name '\(name)' and version \(version)", advice: "Use 1 to 1,000 bytes")
        }
    }

    /// Where a root's value is, once its layout, kind and version are what is expected.
    func place(of number: Int, _ name: String, _ layout: TypeLayout, _ version: Int, _ kind: UInt32) throws(HeapError) -> Int {
        let record = directory.record(number)
        guard Int(record.version) == version else {
            throw HeapError(
                .versionMismatch, "the root '\(name)' has version \(record.version), and \(version) was asked for",
                advice: "Give an upgrade, or the version that it has")
        }
        try requireLayout(record, name, layout, kind)
        return record.value
    }

    /// Refuses a root that was made as something else, showing both.
    func requireLayout(_ record: RootDirectory.Record, _ name: String, _ layout: TypeLayout, _ kind: UInt32) throws(HeapError) {
        let recorded = directory.text(record.layout, record.layoutBytes)
        guard recorded == layout.text, record.kind == kind else {
            throw HeapError(
                .layoutMismatch, "the root '\(name)' was made as \(recorded), and is opened as \(layout.text)",
                advice: "Open it as what it is, or give its type a new version and an upgrade")
        }
    }
}
