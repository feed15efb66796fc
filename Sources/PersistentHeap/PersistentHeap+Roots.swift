extension PersistentHeap {
    /// The names of the heap's roots, in the order in which they were made; none in a heap that was closed.
    ///
    /// Where they are damaged there are none, and `failure` says so.
    public var rootNames: [String] {
        if space.isClosed { return [] }
        do throws(HeapError) { return try directory.all().map(\.name) } catch {
            space.fail(error)
            return []
        }
    }

    /// The root of that name, which is made with the default where it is not there.
    ///
    /// Looking one up waits, as a change does, while another thread commits or is in a transaction. Where two threads make a
    /// root at once, both get the one that was first.
    /// - Throws: `.layoutMismatch`, showing both layouts, where the root was made of another type, or of the type as it was
    ///   before its fields changed; `.versionMismatch`; `.unsuitableType`; `.noRoot` in a read-only heap; `.full`; `.damaged`.
    public func root<Value: Persistable>(
        _ name: String, of type: Value.Type = Value.self, version: Int = 1, default value: @autoclosure () -> Value
    ) throws(HeapError) -> Root<Value> {
        let layout = try checked(Value.layout, of: name)
        if let root = try directory.find(name) {
            return Root(space: space, ref: Ref(offset: try place(of: root, layout.text, version, RootDirectory.valueKind)))
        }
        try requireNew(name, version)
        let first = value()
        let (root, isNew) = try directory.find(name, orAdd: layout.text, version: version, kind: RootDirectory.valueKind) {
            () throws(HeapError) in try make(first).offset
        } unmake: {
            try? space.free($0)
        }
        let offset = isNew ? root.record.value : try place(of: root, layout.text, version, RootDirectory.valueKind)
        return Root(space: space, ref: Ref(offset: offset))
    }

    /// The collection of that name, which is made empty where it is not there. Throws as the other `root` does.
    public func root<Container: PersistentContainer>(
        _ name: String, of type: Container.Type = Container.self, version: Int = 1
    ) throws(HeapError) -> Container {
        let layout = try checked(Container.layout, of: name)
        if let root = try directory.find(name) {
            let handle = try place(of: root, layout.text, version, RootDirectory.containerKind)
            return try Container(validating: ContainerHandle(offset: handle), in: space)
        }
        try requireNew(name, version)
        let (root, isNew) = try directory.find(name, orAdd: layout.text, version: version, kind: RootDirectory.containerKind) {
            () throws(HeapError) in try Container.store(Container.create(in: space), in: space).offset
        } unmake: {
            try? Container.release(ContainerHandle(offset: $0), in: space)
        }
        let offset = isNew ? root.record.value : try place(of: root, layout.text, version, RootDirectory.containerKind)
        return try Container(validating: ContainerHandle(offset: offset), in: space)
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
        guard !name.isEmpty, name.utf8.count <= 1000 else {
            throw HeapError(.invalid, "no root can have the name '\(name)'", advice: "Use 1 to 1,000 bytes")
        }
        try requireVersion(version, of: name)
    }

    func requireVersion(_ version: Int, of name: String) throws(HeapError) {
        guard UInt32(exactly: version) != nil else {
            throw HeapError(.invalid, "the root '\(name)' can't have version \(version)", advice: "Use 0 to \(UInt32.max)")
        }
    }

    /// Where a root's value is, once its layout, kind and version are what is expected.
    func place(of root: RootDirectory.Root, _ layout: String, _ version: Int, _ kind: UInt32) throws(HeapError) -> Int {
        guard Int(root.record.version) == version else {
            throw HeapError(
                .versionMismatch, "the root '\(root.name)' has version \(root.record.version), and \(version) was asked for",
                advice: "Give an upgrade, or the version that it has")
        }
        try requireLayout(root, layout, kind)
        return root.record.value
    }

    /// Refuses a root that was made as something else, showing both.
    func requireLayout(_ root: RootDirectory.Root, _ layout: String, _ kind: UInt32) throws(HeapError) {
        guard root.layout == layout, root.record.kind == kind else {
            throw HeapError(
                .layoutMismatch, "the root '\(root.name)' was made as \(root.layout), and is opened as \(layout)",
                advice: "Open it as what it is, or give its type a new version and an upgrade")
        }
    }
}
