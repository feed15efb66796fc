public import VirtualMemory
internal import VMTypes

extension PersistentHeap {
    /// How a heap is opened.
    public struct Options: Sendable {
        /// Bytes that a new heap can grow to, its own tables included: 1 MiB … 64 GiB. It takes disk space as it is used.
        public var capacity: Int
        /// The name of the heap's object in the store.
        public var name: String
        /// Where something else of this process lies at the heap's home address, open it elsewhere: then only `Ref`s mean
        /// something in it, and types that hold raw pointers are refused.
        public var relocatable: Bool
        /// How a store that is not there is made.
        public var create: Store.CreateOptions
        /// How the store is opened.
        public var open: Store.OpenOptions

        public init(
            capacity: Int = 1 << 36, name: String = "heap", relocatable: Bool = false,
            create: Store.CreateOptions = .init(), open: Store.OpenOptions = .init()
        ) {
            self.capacity = capacity
            self.name = name
            self.relocatable = relocatable
            self.create = create
            self.open = open
        }
    }

    /// Opens the heap at a path, for writing; makes the store and the heap where they are not there.
    ///
    /// Throws `.store` (another process has the store; the heap's address is taken, and by what; …), `.damaged`,
    /// `.newerFormat`.
    public static func open(_ path: String, options: Options = Options()) throws(HeapError) -> PersistentHeap {
        let store = try HeapError.translating { () throws(StoreError) in
            do throws(StoreError) { return try Store.open(path, options: options.open) } catch {
                guard error.code == .noStore, options.open.access == .write else { throw error }
            }
            do throws(StoreError) { try Store.create(path, options: options.create) } catch {
                // Another process may have made it meanwhile; else opening says what stands there.
                guard error.code == .storeExists else { throw error }
            }
            return try Store.open(path, options: options.open)
        }
        do throws(HeapError) { return try open(in: store, options, isOwnStore: true) } catch {
            try? store.close()
            throw error
        }
    }

    /// Opens a heap of a store that is open for writing; makes the heap, by a commit of its own, where it is not there.
    ///
    /// Throws `.wrongState` where the heap is open, and within a transaction or a change; `.uncommittedChanges` where the heap is
    /// not there, and the store has changes that its commit would take.
    public static func open(in store: Store, options: Options = Options()) throws(HeapError) -> PersistentHeap {
        try open(in: store, options, isOwnStore: false)
    }

    private static func open(in store: Store, _ options: Options, isOwnStore: Bool) throws(HeapError) -> PersistentHeap {
        let name = options.name
        let gate = WriteGate.of(store)
        guard !gate.isHeldHere, !gate.isChangingHere else {
            throw HeapError(
                .wrongState, "the heap '\(name)' can't be opened within a transaction or a change", advice: "Open it before")
        }
        // One thread at a time: two would both find a new heap's memory unwritten.
        gate.close()
        defer { gate.open() }
        let isUncommitted = try HeapError.translating { () throws(StoreError) in
            isOwnStore ? false : try store.hasUncommittedChanges()
        }
        let task = try attach(name, in: store, isRelocatable: options.relocatable)
        if let region = store.firstRegion(of: task) {
            try HeapError.translating { () throws(StoreError) in try store.loadHeader(of: region) }
            let space = try existing(at: region.address, bytes: region.byteCount, task, store)
            return PersistentHeap(store: store, name: name, space: space, isOwnStore: isOwnStore)
        }
        guard !isUncommitted else {
            store.takeBack(task)
            throw HeapError(
                .uncommittedChanges, "the heap '\(name)' is made by a commit, which would take what is not committed in the store",
                advice: "Commit or abandon that first")
        }
        guard (HeapFormat.minimumCapacity...HeapFormat.maximumCapacity).contains(options.capacity) else {
            store.takeBack(task)
            throw HeapError(
                .invalid, "no heap has a capacity of \(options.capacity) bytes",
                advice: "Give \(HeapFormat.minimumCapacity) to \(HeapFormat.maximumCapacity)")
        }
        do throws(HeapError) {
            let space = try made(in: task, of: store, options)
            _ = try HeapError.translating { () throws(StoreError) in try store.commit(message: "make the heap '\(name)'", mayTrade: false) }
            return PersistentHeap(store: store, name: name, space: space, isOwnStore: isOwnStore)
        } catch {
            // No later commit is to keep it in a window.
            store.takeBack(task)
            throw error
        }
    }

    /// Maps the heap's object, which is made where it is not there, into its task.
    private static func made(in task: VMTask, of store: Store, _ options: Options) throws(HeapError) -> HeapSpace {
        let region = try HeapError.translating { () throws(StoreError) in
            try store.mapHeap(named: options.name, byteCount: options.capacity / 4096 * 4096, in: task)
        }
        let address = region.address, bytes = region.byteCount
        let base = task.pointer(address)
        // New, or left by a process that was killed here.
        if region.isUnwritten, (HeapFormat.minimumCapacity...HeapFormat.maximumCapacity).contains(bytes) {
            let fields: [(Int, Int)] = [
                (HeapFormat.magicOffset, Int(bitPattern: UInt(HeapFormat.magic))), (HeapFormat.versionOffset, Int(HeapFormat.version)),
                (HeapFormat.capacityOffset, bytes), (HeapFormat.homeOffset, Int(address)),
                (HeapFormat.unitCountOffset, HeapGeometry(capacity: bytes).unitCount),
            ]
            for (field, value) in fields { base.storeBytes(of: value, toByteOffset: field, as: Int.self) }
        }
        return try existing(at: address, bytes: bytes, task, store)
    }

    /// The task whose window the heap lies in; another one, where that window is taken and the heap may be elsewhere.
    private static func attach(_ name: String, in store: Store, isRelocatable: Bool) throws(HeapError) -> VMTask {
        try HeapError.translating { () throws(StoreError) in
            var attempt = 0
            while true {
                do throws(StoreError) {
                    return try store.task(named: attempt == 0 ? name : "\(name) elsewhere \(attempt)")
                } catch {
                    // Windows that it was in at other times may be taken too.
                    attempt += 1
                    guard error.code == .addressTaken, isRelocatable, attempt < 10 else { throw error }
                }
            }
        }
    }

    /// The heap that is mapped at an address.
    private static func existing(at address: UInt64, bytes: Int, _ task: VMTask, _ store: Store) throws(HeapError) -> HeapSpace {
        let base = task.pointer(address)
        let gate = WriteGate.of(store)
        guard !gate.openSpaces.contains(where: { $0.base == base }) else {
            throw HeapError(
                .wrongState, "the heap '\(task.name)' is open already", advice: "Use the heap that is open, or close it first")
        }
        let geometry = try checkedGeometry(UnsafeRawPointer(base), bytes: bytes)
        return try HeapSpace(
            base: base, geometry: geometry,
            isRelocated: base.load(fromByteOffset: HeapFormat.homeOffset, as: UInt64.self) != address, task: task,
            gate: gate)
    }

    /// What the header says, where it can be true.
    static func checkedGeometry(_ base: UnsafeRawPointer, bytes: Int) throws(HeapError) -> HeapGeometry {
        guard bytes >= HeapFormat.minimumCapacity, base.load(as: UInt64.self) == HeapFormat.magic else {
            throw HeapError(.damaged, "the object of \(bytes) bytes holds no heap", advice: "Name another object")
        }
        let version = base.load(fromByteOffset: HeapFormat.versionOffset, as: UInt32.self)
        guard version <= HeapFormat.version else {
            throw HeapError(
                .newerFormat, "the heap has format \(version), and this build knows \(HeapFormat.version)",
                advice: "Open it with a newer build")
        }
        let capacity = base.load(fromByteOffset: HeapFormat.capacityOffset, as: Int.self)
        guard capacity == bytes, capacity <= HeapFormat.maximumCapacity else {
            throw HeapError(.damaged, "the heap says that it has \(capacity) bytes, and its object has \(bytes)")
        }
        let geometry = HeapGeometry(capacity: capacity)
        guard geometry.unitCount == base.load(fromByteOffset: HeapFormat.unitCountOffset, as: Int.self) else {
            throw HeapError(.damaged, "the heap's header contradicts itself", advice: "Run `varve verify`")
        }
        return geometry
    }
}
